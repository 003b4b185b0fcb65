"""Conversion loses nothing, and says what it cannot convert."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sft.dataset.convert import convert
from sft.dataset.rows import Format
from sft.errors import DatasetError, InputError
from tests.conftest import Dataset

TEXT = st.text(max_size=12).map(lambda s: "x" + s).filter(lambda s: "<image>" not in s)
EXTRA = st.dictionaries(st.sampled_from(["id", "source", "page"]), st.none() | st.integers() | TEXT, max_size=2)


@st.composite
def ernie_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows whose images stand in the order of their prompts, as the other format has no other order."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        turns = draw(st.integers(1, 3))
        texts = [{"text": draw(TEXT), "tag": ("mask", "no_mask")[i % 2]} for i in range(2 * turns)]
        places = sorted(draw(st.lists(st.integers(0, turns - 1), min_size=1, max_size=3)))
        images = [{"matched_text_index": 2 * place, "image_url": "./" + draw(TEXT)} for place in places]
        found.append({"image_info": images, "text_info": texts, **draw(EXTRA)})
    return found


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ernie_rows())
def test_there_and_back_is_the_same(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    source, there, back, again = (tmp_path / f"{name}.jsonl" for name in ("a", "b", "c", "d"))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert convert(source, there, "messages", force=True) == len(rows)
    assert convert(there, back, "erniekit", force=True) == len(rows)
    assert [json.loads(line) for line in back.read_bytes().splitlines()] == rows
    convert(back, again, "messages", force=True)
    assert again.read_bytes() == there.read_bytes()


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("form", ["erniekit", "messages"])
def test_large_blocks_and_compressed_targets(dataset: Dataset, suffix: str, form: Format) -> None:
    source = dataset.write("a.jsonl", [dataset.row(f"./{i}.png", f"answer: {i}") for i in range(5000)])
    middle = dataset.folder / "m.jsonl"
    convert(source, middle, form)
    target = dataset.folder / f"b.jsonl{suffix}"
    assert convert(middle, target, "erniekit") == 5000
    content = target.read_bytes() if not suffix else None
    if suffix == ".gz":
        content = gzip.decompress(target.read_bytes())
    if content is not None:
        assert [json.loads(line) for line in content.splitlines()] == [
            json.loads(line) for line in source.read_bytes().splitlines()
        ]


def test_broken_rows_are_all_named_and_nothing_is_written(dataset: Dataset) -> None:
    marked = [{"text": "OCR: <image>", "tag": "mask"}, {"text": "1", "tag": "no_mask"}]
    both = {**dataset.row("a.png"), "messages": []}
    path = dataset.write("a.jsonl", [dataset.row("a.png"), b"{", dataset.row("a.png", text_info=marked), both])
    with pytest.raises(DatasetError) as caught:
        convert(path, dataset.folder / "b.jsonl", "messages")
    for line, said in ((2, "one JSON object"), (3, "the text <image>"), (4, "keys of both formats")):
        assert f"{path}:{line}: " in str(caught.value)
        assert said in str(caught.value)
    assert sorted(p.name for p in dataset.folder.iterdir()) == ["a.jsonl"]


def test_a_file_is_not_overwritten_unasked(dataset: Dataset) -> None:
    path = dataset.write("a.jsonl", [dataset.row("a.png")])
    target = dataset.write("b.jsonl", [])
    with pytest.raises(InputError, match="the file exists"):
        convert(path, target, "messages")
    with pytest.raises(DatasetError, match="are one file"):
        convert(path, path, "messages", force=True)
    convert(path, target, "messages", force=True)
    assert b"<image>OCR:" in target.read_bytes()
