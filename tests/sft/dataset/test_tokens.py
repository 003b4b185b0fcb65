"""Token counts are those of the trainer's own processor and tokenizer."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sft.dataset.dropped import check_enlarged
from sft.dataset.facts import PARTS
from sft.dataset.room import check_room
from sft.dataset.settings import DatasetConfig
from sft.dataset.tokens import Limits, smart_resize
from sft.dataset.validate import validate_file
from sft.engines import ENGINES
from sft.errors import DatasetError
from sft.smoke import tiny
from tests.conftest import Dataset

ROOT = Path(__file__).parents[3]


@cache
def processor() -> Any:
    """PaddleFormers' own module; importing it warns of this and that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from paddleformers.transformers.paddleocr_vl import image_processor
    return image_processor


def test_an_image_that_becomes_too_long_when_it_is_enlarged_has_a_size() -> None:
    limits = Limits(enlarges=1.5)
    assert limits.most_image_tokens(5600, 28) >= limits.image_tokens(5600, 28)
    tiny_limits = Limits(min_pixels=tiny.MIN_PIXELS, max_pixels=10**8, enlarges=1.5)
    assert 0 <= tiny_limits.left_out(5600, 28, 250) <= 1


@settings(max_examples=500, deadline=None)
@given(st.integers(1, 6000), st.integers(1, 6000))
@example(5600, 28)
@example(5601, 28)
@example(1, 201)
@example(14, 2800)
def test_the_resize_is_that_of_paddleformers(height: int, width: int) -> None:
    theirs = processor().smart_resize
    bounds = {"min_pixels": 147_384, "max_pixels": 2_822_400}
    try:
        expected = theirs(height, width, **bounds)
    except ValueError:
        with pytest.raises(ValueError, match="over 200"):
            smart_resize(height, width, **bounds)
        return
    assert smart_resize(height, width, **bounds) == expected


def test_a_models_folder_gives_its_bounds_and_its_tokenizer(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "model").mkdir()
    tiny.write_model_files(tmp_path / "model")
    limits = Limits.of_model(tmp_path / "model", max_seq_len=60)
    assert (limits.min_pixels, limits.max_pixels, limits.exact) == (tiny.MIN_PIXELS, tiny.MAX_PIXELS, True)
    assert limits.text_tokens("1234567890") == 10, "the tiny tokenizer splits text into characters"
    assert limits.image_tokens(84, 28) == 3
    texts = ["1" * 30, "1" * 300]
    path = dataset.write("t.jsonl", [dataset.row(dataset.image(f"{i}.png", i), text) for i, text in enumerate(texts)])
    report = validate_file(path, DatasetConfig(), limits)
    (finding,) = report.shown
    assert (finding.rule, finding.where, report.errors) == ("tokens", f"{path}:2", 1)
    assert "of 60" in finding.value
    estimated = validate_file(path, DatasetConfig(), Limits(60, tiny.MIN_PIXELS, tiny.MAX_PIXELS))
    assert (estimated.counts, estimated.errors) == ({"tokens-estimate": 1}, 0), "an estimate stops nothing"


# PaddleFormers' own data pipeline reads rows, with its augmentation; for each row its tokens and those of its image.
PIPELINE = """
import itertools, json, sys
from sft.environments.cpu_launcher import stub_triton
stub_triton()
from paddleformers.datasets.loader import create_dataset
from paddleformers.datasets.template.template import get_template_and_fix_tokenizer
from paddleformers.transformers import AutoProcessor, AutoTokenizer
model, rows, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
config = dict(
    tokenizer=AutoTokenizer.from_pretrained(model), processor=AutoProcessor.from_pretrained(model), max_seq_len=10**6,
    template="paddleocr_vl", template_backend="custom", use_template=True, tool_format=None, default_system=None,
    random_seed=1, random_shuffle=False, mix_strategy="concat", stage="VL-SFT", dataset_type="iterator", packing=False,
    truncation_strategy="delete", num_samples_each_epoch=100, task_group=rows, task_group_prob="1.0",
    sub_dataset_type="messages",
)
config["template_instance"] = get_template_and_fix_tokenizer(config)
for (row,) in itertools.islice(create_dataset(**config), count):
    print("ROW", len(row.token_ids), int(row.mm_inputs["image_grid_thw"].prod(-1).sum()) // 4)
"""


def test_rows_are_as_long_as_paddleformers_own_pipeline_makes_them(tmp_path: Path, dataset: Dataset) -> None:
    tiny.write_model_files(tmp_path)
    turns = [
        [("OCR:", "12345")],
        [("Formula Recognition:", "a b c")],
        [("OCR:", "x" * 30), ("again?", "yy"), ("?", "z")],
    ]
    image = (140, 56)  # px: 10 tokens, 24 at most
    path = str(dataset.folder / dataset.image("a.png", 200, image))
    written = []
    for row in turns:
        pairs = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in row]
        pairs[0][0]["content"] = "<image>" + pairs[0][0]["content"]
        written.append({"messages": [message for pair in pairs for message in pair], "images": [path]})
    rows = dataset.write("rows.jsonl", written)
    passes = 200
    command = [sys.executable, "-W", "ignore", "-c", PIPELINE, str(tmp_path), str(rows), str(passes * (len(turns) + 1))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    seen = [tuple(map(int, line.split()[1:])) for line in done.stdout.splitlines() if line.startswith("ROW")]
    assert len(seen) == passes * (len(turns) + 1), done.stderr[-2000:]

    limits = replace(Limits.of_model(tmp_path, 512), enlarges=ENGINES["paddleformers"].enlarges)
    # The last row of a pass comes twice: PaddleFormers yields it once more at the end.
    expected = [limits.row_tokens(row, 1) for row in (*turns, turns[-1])] * passes
    assert [tokens - pictures for tokens, pictures in seen] == expected
    pictures = [pictures for _, pictures in seen]
    assert limits.image_tokens(*image) in pictures
    assert max(pictures) <= limits.most_image_tokens(*image) <= limits.largest_image
    for room in (10, 14, 18, 20):
        often = sum(count > room for count in pictures) / len(pictures)
        assert often == pytest.approx(limits.left_out(*image, room), abs=0.09), room


def test_a_row_that_fits_until_its_image_is_enlarged_is_a_warning_with_how_often(
    tmp_path: Path, dataset: Dataset
) -> None:
    tiny.write_model_files(tmp_path)
    limits = Limits.of_model(tmp_path, 64)
    texts = ["7" * 28, "7" * 29, "7" * 5]  # 54, 55 and 31 tokens with the template's; the image has 10, up to 24
    rows = [dataset.row(dataset.image(f"{i}.png", i, (140, 56)), text) for i, text in enumerate(texts)]
    path = dataset.write("t.jsonl", rows)
    still = validate_file(path, DatasetConfig(workers=1), limits)
    assert still.counts == {"tokens": 1}, "ERNIEKit enlarges nothing"
    report = validate_file(path, DatasetConfig(workers=1), replace(limits, enlarges=1.5))
    assert (report.counts, report.errors) == ({"tokens": 1, "tokens-enlarged": 1}, 1)
    values = {finding.rule: (finding.where, finding.value) for finding in report.shown}
    assert values["tokens"] == (f"{path}:2", "65 tokens, 10 of them the image's, of 64")
    where, value = values["tokens-enlarged"]
    assert where == f"{path}:1"
    assert value.startswith("64 tokens, up to 78 of 64: left out in ")
    assert 0.1 < report.train.enlarged / PARTS < 0.5
    with pytest.raises(DatasetError, match="augmentation"):
        check_enlarged(report.train, 0.005)


def test_held_out_answers_longer_than_a_model_may_say_are_told_before(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "model").mkdir()
    tiny.write_model_files(tmp_path / "model")
    limits = Limits.of_model(tmp_path / "model", max_seq_len=512)
    path = dataset.write("t.jsonl", [dataset.row("./a.png", "1" * length) for length in (3, 16, 17, 40)])
    assert check_room(path, "erniekit", limits, 40) == ""
    told = check_room(path, "erniekit", limits, 16)
    assert told.startswith("2 of 4 held-out answers are longer (the longest 40) than evaluate.max_new_tokens=16")
    assert told.endswith("--set evaluate.max_new_tokens=41")
    with pytest.raises(DatasetError, match="4 of 4 held-out answers"):
        check_room(path, "erniekit", limits, 2)
    assert "by estimate" in check_room(path, "erniekit", Limits(), 4), "an estimate stops nothing"
