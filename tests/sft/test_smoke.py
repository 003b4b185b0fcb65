"""The smoke run's material: writers kept apart, composed deterministically, a base model that is what it says."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate
from sft.errors import IntegrityError
from sft.smoke import digits, tiny


def test_no_writer_is_in_both_sets() -> None:
    gap = digits.HELD_OUT_SAMPLES.start - digits.TRAIN_SAMPLES.stop
    assert gap > 1797 / 13, "a writer's share of the samples, which are in the order of the writers"
    train = {image.tobytes() for glyphs in digits.handwritten(digits.TRAIN_SAMPLES).values() for image in glyphs}
    held = {image.tobytes() for glyphs in digits.handwritten(digits.HELD_OUT_SAMPLES).values() for image in glyphs}
    assert not train & held
    assert all(len(glyphs) > 20 for glyphs in digits.handwritten(digits.HELD_OUT_SAMPLES).values())


def test_the_same_settings_compose_the_same_valid_dataset(tmp_path: Path) -> None:
    reports = []
    for name in ("one", "two"):
        folder = tmp_path / name
        digits.write_dataset(folder, train_rows=20, held_out_rows=10, seed=7)
        reports.append(validate(folder / "train.jsonl", folder / "held_out.jsonl", DatasetConfig()))
        reports[-1].check()
    assert reports[0].fingerprint == reports[1].fingerprint
    digits.write_dataset(tmp_path / "three", train_rows=20, held_out_rows=10, seed=8)
    other = validate(tmp_path / "three" / "train.jsonl", tmp_path / "three" / "held_out.jsonl", DatasetConfig())
    assert other.fingerprint != reports[0].fingerprint
    assert not reports[0].counts


def test_a_line_shows_its_digits() -> None:
    glyphs = {str(d): [Image.new("L", (digits.GLYPH, digits.GLYPH), 20 * d)] for d in range(10)}
    line = digits.compose(random.Random(1), "703", digits.from_glyphs(glyphs))
    assert line.size == (84, 28)
    assert [line.getpixel((28 * i + 14, 14)) for i in range(3)] == [140, 0, 60]


def test_the_weights_that_ship_are_the_ones_that_the_log_tells_of() -> None:
    log = Path(__file__).parents[2] / "scripts" / "pretrain_tiny_base.log"
    assert json.loads(log.read_text().splitlines()[0])["sha256"] == tiny.weights_hash() == tiny.WEIGHTS_SHA256
    assert tiny.WEIGHTS.stat().st_size < 4_000_000


def test_the_base_model_is_materialised_whole(tmp_path: Path) -> None:
    tiny.materialise(tmp_path)
    weights = load_file(str(tmp_path / "model.safetensors"))
    assert weights[tiny.PACKING_TABLE].shape == (tiny.PACKING_ROWS, tiny.VISION_WIDTH)
    assert {value.dtype for value in weights.values()} == {np.dtype("float32")}
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == len(tiny.vocabulary())
    first = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    tiny.materialise(tmp_path / "again")
    assert hashlib.sha256((tmp_path / "again" / "model.safetensors").read_bytes()).hexdigest() == first


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(tiny.WEIGHTS.read_bytes()[:-1])
    monkeypatch.setattr(tiny, "WEIGHTS", torn)
    with pytest.raises(IntegrityError, match="git checkout"):
        tiny.materialise(tmp_path / "model")
    assert not (tmp_path / "model").exists()
