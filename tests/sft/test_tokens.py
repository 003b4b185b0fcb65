"""Token counts are those of the trainer's own processor and tokenizer."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sft.config.model import DatasetConfig
from sft.dataset.tokens import Limits, smart_resize
from sft.dataset.validate import validate_file
from sft.smoke import tiny
from tests.conftest import Dataset


@cache
def processor() -> Any:
    """PaddleFormers' own module; importing it warns of this and that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from paddleformers.transformers.paddleocr_vl import image_processor
    return image_processor


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
