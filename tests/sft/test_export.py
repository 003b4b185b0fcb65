"""A saved model that cannot be served is found before it is promoted."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sft import export
from sft.smoke import tiny
from sft.weights import not_finite


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tiny.materialise(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def model(base: Path, tmp_path: Path) -> Path:
    shutil.copytree(base, tmp_path / "model")
    return tmp_path / "model"


def test_a_whole_copy_has_no_problems(base: Path, model: Path) -> None:
    assert export.problems(model, base) == []
    (base / "README.md").write_text("no companion")
    (base / "configuration_paddleocr_vl.py").write_text("a companion: transformers loads it")
    assert export.problems(model, base) == ["configuration_paddleocr_vl.py is missing"]


@pytest.mark.parametrize("name", ["chat_template.jinja", "inference.yml", "preprocessor_config.json", "tokenizer.json"])
def test_each_file_that_serving_reads_is_asked_for(base: Path, model: Path, name: str) -> None:
    (model / name).unlink()
    assert f"{name} is missing" in export.problems(model, base)


def test_wrong_settings_and_weights_are_named(base: Path, model: Path) -> None:
    (model / "config.json").write_text('{"architectures": ["Other"], "model_type": "paddleocr_vl"}')
    (model / "inference.yml").write_text("Global: {model_name: Other}")
    weights = load_file(str(model / "model.safetensors"))
    names = sorted(weights)
    weights["extra"] = weights.pop(names[0])
    weights[names[1]] = np.full_like(weights[names[1]], np.nan)
    weights[names[2]] = weights[names[2]].reshape(-1, 1)
    save_file(weights, str(model / "model.safetensors"))
    found = "\n".join(export.problems(model, base))
    assert "config.json says architectures ['Other']" in found
    assert "inference.yml does not name the base's model_name" in found
    assert f"1 weights are missing, such as {names[0]}" in found
    assert "1 weights that the base does not have, such as extra" in found
    assert f"1 weights hold NaN or infinity, such as {names[1]}" in found
    assert f"{names[2]} has the shape" in found


def test_weights_that_no_trainer_knows_come_from_the_base_and_no_others(base: Path, model: Path) -> None:
    weights = load_file(str(model / "model.safetensors"))
    kept = {name: value for name, value in weights.items() if not name.startswith(tiny.HEAD)}
    lost = next(name for name in kept if "mlp" in name)
    del kept[lost]
    save_file(kept, str(model / "model.safetensors"))
    assert len(export.problems(model, base)) == 1
    assert export.complete(model, base) == len(tiny.HEAD_SHAPES)
    assert export.problems(model, base) == [f"1 weights are missing, such as {lost}"], (
        "a lost weight is not made up for"
    )
    whole = load_file(str(model / "model.safetensors"))
    assert set(whole) == set(weights) - {lost}
    assert all(np.array_equal(whole[name], weights[name]) for name in whole)
    assert export.complete(model, base) == 0


def test_shards_become_one_file_as_the_base_has_it(base: Path, model: Path) -> None:
    weights = load_file(str(model / "model.safetensors"))
    (model / "model.safetensors").unlink()
    names = sorted(weights)
    for number, part in enumerate((names[:5], names[5:]), 1):
        save_file({name: weights[name] for name in part}, str(model / f"model-0000{number}-of-00002.safetensors"))
    (model / "model.safetensors.index.json").write_text("{}")
    assert export.complete(model, base) == 0
    assert sorted(path.name for path in model.glob("model*")) == ["model.safetensors"]
    whole = load_file(str(model / "model.safetensors"))
    assert set(whole) == set(weights)
    assert all(np.array_equal(whole[name], weights[name]) for name in names)


def test_half_precision_is_looked_at_too(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"good": np.ones(4, np.float16), "bad": np.array([1, np.inf], np.float16)}, str(path))
    assert list(not_finite(path)) == ["bad"]
