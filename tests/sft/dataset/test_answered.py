"""A model's answers as rows: marked, whole ones alone, each image once."""

import json
from pathlib import Path

import pytest
from PIL import Image

from sft.dataset.answered import Answered, write_answers
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file
from sft.errors import InputError


def test_whole_answers_become_rows_that_say_whose_they_are(tmp_path: Path) -> None:
    images = [tmp_path / "pages" / f"{n}.png" for n in range(4)]
    images[0].parent.mkdir()
    for number, path in enumerate(images):
        Image.new("L", (60, 30), 90 * (number % 3)).save(path)
    said = [("total 12", False), (" ", False), ("12 12 12", True), ("another", False)]
    answers = [Answered(path, "OCR:", text, cut) for path, (text, cut) in zip(images, said)]
    target = tmp_path / "rows" / "own.jsonl"
    assert write_answers(target, answers, "base") == (1, 1, 1, 1), "the last picture is the first one's"
    (row,) = map(json.loads, target.read_text().splitlines())
    assert row["answered_by"] == "base"
    report = validate_file(target, DatasetConfig())
    assert (report.errors, report.train.rows, report.train.images) == (0, 1, 1)
    with pytest.raises(InputError, match="the file exists"):
        write_answers(target, answers, "base")
