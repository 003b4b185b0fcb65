"""``sft doubtful`` for real: labels that were spoiled on purpose are found, by a model that reads print."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from compute.local import LocalCompute
from flows.doubtful import Search, doubtful
from sft.config import load
from sft.dataset.corrections import relabel
from sft.dataset.reading import read_samples
from tests.compute.test_local import TINY, wait
from tests.flows.test_evaluate_models import HOW, sft
from tests.sft.models.test_lora import result_of
from tests.support.printed import write_printed
from tests.support.runs import short_training

pytestmark = pytest.mark.usefixtures("prefect_server", "one_look")
ROWS, SPOILED = 60, 6


def spoiled(folder: Path) -> tuple[Path, dict[int, str]]:
    """(lines of print of which six have a wrong digit or one too few, row → what stands on the picture)."""
    path, rng = write_printed(folder, "print", ROWS, seed=5), random.Random(5)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    right: dict[int, str] = {}
    for number in rng.sample(range(ROWS), SPOILED):
        said = rows[number]["text_info"][1]
        right[number] = said["text"]
        wrong = str((int(said["text"][1]) + 1) % 10) if number % 2 else ""
        said["text"] = said["text"][0] + wrong + said["text"][2:]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path, right


def test_wrong_labels_are_found_shown_and_corrected(home: Path) -> None:
    compute = LocalCompute(home / "state")
    wait(compute, compute.start("download_model", TINY))
    args = short_training(compute, steps=1, save_steps=1)
    result_of(compute, "train", args)
    identity = args.identity[:16]
    rows, right = spoiled(home)

    done = sft(home, "doubtful", "smoke", str(rows), "--model", identity)
    assert done.returncode == 0, done.stderr
    assert f"print: {SPOILED} of {ROWS} labels are doubtful" in done.stdout
    (folder,) = (home / "models" / "doubtful").iterdir()
    tasks: list[dict[str, Any]] = json.loads((folder / "doubtful.json").read_text())
    assert tasks == [json.loads(line) for line in (folder / "doubtful.jsonl").read_text().splitlines()]
    data = {task["data"]["row"]: task["data"] for task in tasks}
    assert data.keys() == right.keys(), "every wrong label, and no right one"
    sure = [task["data"]["times_likelier"] for task in tasks]
    assert sure == sorted(sure, reverse=True)
    assert min(sure) > 1
    for task in tasks:
        base, label = task["predictions"]
        assert label["result"][0]["value"]["text"] == base["result"][0]["value"]["text"] == [right[task["data"]["row"]]]
        assert (rows.parent / task["data"]["image"].partition("?d=")[2]).is_file()
    page = (folder / "report.html").read_text()
    assert f"<strong>{SPOILED}</strong> of {ROWS} labels are doubtful" in page
    assert "times likelier" in page

    # The same again is found; where the record is gone, only what a kill has torn is weighed anew.
    (weighed,) = (compute.volumes.outputs / "weighed").glob("*/*.jsonl")
    weighed.write_text(weighed.read_text()[:-8])
    shutil.rmtree(next((compute.volumes.outputs / "doubtful").iterdir()))
    calls = len(list(compute.calls.iterdir()))
    for _ in range(2):
        (found,) = doubtful([str(rows)], identity, config=load("smoke", HOW).config)
        assert isinstance(found, Search)
        assert found.record["doubtful"] == SPOILED
    assert len(list(compute.calls.iterdir())) == calls + 1
    again = [part for part in (compute.volumes.outputs / "weighed").glob("*/*.jsonl") if part != weighed]
    assert sum(line.startswith('{"row"') for part in again for line in part.read_text().splitlines()) == 1

    for task in tasks:
        task["data"]["corrected"] = right[task["data"]["row"]]
    (home / "corrected.json").write_text(json.dumps(tasks))
    assert relabel(rows, home / "corrected.json", rows.with_name("whole.jsonl")) == (SPOILED, 0)
    whole = [sample.answer for sample in read_samples(rows.with_name("whole.jsonl"), "erniekit")]
    assert {number: whole[number] for number in right} == right
