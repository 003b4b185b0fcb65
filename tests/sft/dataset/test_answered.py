"""A model's answers as rows: marked, whole ones alone, each image once."""

import json
from pathlib import Path

import pytest
from PIL import Image

from sft.dataset.answered import Answered, write_answers
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate, validate_file
from sft.errors import DatasetError, InputError
from tests.conftest import Dataset


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


def test_no_model_is_judged_by_its_own_answers(tmp_path: Path) -> None:
    """As held-out, dev or guard rows, or as those of the training set that dev_share sets aside; read as a block or row
    by row. A text that only has the word, and a key without a model, are nobody's answers.
    """
    data = Dataset(tmp_path)
    names = [data.image(f"{chr(97 + number // 26)}{chr(97 + number % 26)}.png", number) for number in range(40)]
    own = [{**data.row(name, "said"), "answered_by": "base (models/x)"} for name in names[:20]]
    plain = [data.row(name, 'its "answered_by": "base"') for name in names[20:30]]
    plain.append({**data.row(names[30], "read"), "answered_by": ""})
    data.write("own.jsonl", own + plain)
    data.write("plain.jsonl", plain)
    data.write("train.jsonl", [data.row(name, "read") for name in names[31:]])
    path = {name: tmp_path / f"{name}.jsonl" for name in ("own", "plain", "train")}
    config = DatasetConfig()
    for judged in ({"held_out": path["own"]}, {"held_out": path["plain"], "dev": path["own"]}):
        found = validate(path["train"], config=config, **judged)  # type: ignore[arg-type]
        assert found.counts["own-answer"] == 20
        with pytest.raises(DatasetError, match="no model's own answers"):
            found.check()
    assert validate_file(path["own"], config, judges=True).counts["own-answer"] == 20
    assert validate_file(path["own"], config).counts["own-answer"] == 0
    assert validate(path["own"], path["train"], config).counts["own-answer"] == 0, "trained on"
    half = validate(path["own"], path["train"], DatasetConfig(dev_share=0.5)).counts["own-answer"]
    assert 0 < half < 20, "those that would choose among checkpoints"
