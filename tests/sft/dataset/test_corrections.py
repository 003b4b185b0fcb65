"""Corrections that come back from a label tool: a recorded export of Label Studio, and tasks edited by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from sft.dataset.corrections import relabel, task
from sft.dataset.reading import read_samples
from sft.errors import DatasetError, InputError
from sft.smoke.digits import erniekit_row

EXPORT = Path(__file__).parents[2] / "fixtures" / "label_studio_doubtful.json"
LABELS = {25: "836804", 19: "6582", 60: "4067", 170: "83"}  # as the recorded tasks have them


def dataset(folder: Path, count: int = 200) -> Path:
    rows: list[dict[str, Any]] = [erniekit_row(f"./i/{n}.png", LABELS.get(n, "1")) for n in range(count)]
    rows[25]["note"] = {"by": "us"}
    path = folder / "held_out.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return path


def test_an_export_of_label_studio_corrects_what_was_annotated_and_nothing_else(tmp_path: Path) -> None:
    path, target = dataset(tmp_path), tmp_path / "fresh.jsonl"
    assert relabel(path, EXPORT, target) == (1, 2), "one is skipped, one was not opened, one keeps its label"
    before, after = (one.read_text().splitlines() for one in (path, target))
    changed = [number for number, (old, new) in enumerate(zip(before, after)) if old != new]
    assert changed == [25]
    assert json.loads(after[25]) == {**erniekit_row("./i/25.png", "386804"), "note": {"by": "us"}}
    with pytest.raises(InputError, match="the file exists"):
        relabel(path, EXPORT, target)
    assert relabel(target, EXPORT, tmp_path / "again.jsonl") == (0, 2), "what is corrected already stays"


def test_turns_of_messages_are_corrected_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    talk = [("user", "<image>OCR:"), ("assistant", "a"), ("user", "again"), ("assistant", "b")]
    row = {"messages": [{"role": role, "content": text} for role, text in talk], "images": ["1.png"]}
    path.write_text(json.dumps(row) + "\n")
    given = task(["1.png"], {"set": "rows"}, 0, 1, "b", {"base": "x", "tuned": "c"})
    assert given["data"]["image"] == "/data/local-files/?d=1.png"
    given["data"]["corrected"] = "c"
    (tmp_path / "c.jsonl").write_text(json.dumps(given) + "\n")
    assert relabel(path, tmp_path / "c.jsonl", tmp_path / "new.jsonl") == (1, 0)
    (sample,) = read_samples(tmp_path / "new.jsonl", "messages")
    assert [answer for _, answer in sample.turns] == ["a", "c"]


def test_all_that_does_not_fit_is_said_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    path = dataset(tmp_path, count=100)
    given: list[dict[str, Any]] = json.loads(EXPORT.read_text())
    given[1]["data"]["corrected"] = "  "
    given[2]["data"] |= {"label": "another", "corrected": "4068"}
    given[3]["data"]["corrected"] = "38"
    given.append({"data": {"image": "x.png"}, "annotations": []})
    (tmp_path / "c.json").write_text(json.dumps(given))
    with pytest.raises(DatasetError) as caught:
        relabel(path, tmp_path / "c.json", tmp_path / "new.jsonl")
    said = str(caught.value)
    assert "4 corrections do not fit" in said
    for problem in (
        "the answer would be empty",
        "held_out.jsonl:61: its label was 'another' when it was searched, and is '4067'",
        "has 100 rows, and row 170 (from 0) is to be corrected",
        "no task of sft doubtful",
    ):
        assert problem in said
    assert not (tmp_path / "new.jsonl").exists()
    (tmp_path / "deep").mkdir()
    with pytest.raises(InputError, match="lies in another"):
        relabel(path, EXPORT, tmp_path / "deep" / "new.jsonl")
