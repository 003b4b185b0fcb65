"""A saved model that cannot be served is found before it is promoted.

``tests/fixtures/rewrites`` has what the trainers write beside their weights. PaddleFormers: the files of a checkpoint
of the tiny base after four steps (1.2.0, on the CPU, November 2026). ERNIEKit: what was seen to change in a run of the
v1.4 line's stage OCR-VL-SFT on the CPU (commit 50223603, paddleformers 0.4.0), as changes to the base's files.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sft.models import export
from sft.models.weights import not_finite
from sft.smoke import tiny

REWRITES = Path(__file__).parents[2] / "fixtures" / "rewrites"


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
    assert 'config.json: architectures.0 is "Other", the base has "PaddleOCRVLForConditionalGeneration"' in found
    assert 'inference.yml: Global.model_name is "Other", the base has "PaddleOCR-VL-0.9B"' in found
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


def test_what_paddleformers_writes_beside_its_weights_is_named_with_key_and_both_values(
    base: Path, model: Path
) -> None:
    for path in (REWRITES / "paddleformers").iterdir():
        shutil.copyfile(path, model / path.name)
    found = export.problems(model, base)
    for said in (
        'tokenizer_config.json: tokenizer_class is "TokenizersBackend", the base has "PreTrainedTokenizerFast"',
        "tokenizer_config.json: is_local is false, the base has no such key",
        "config.json: eos_token_id is missing, the base has 2",
        'preprocessor_config.json: processor_class is missing, the base has "PaddleOCRVLProcessor"',
    ):
        assert said in found
    assert {text.split(":")[0] for text in found} == {path.name for path in (REWRITES / "paddleformers").iterdir()}


def test_what_erniekit_writes_beside_its_weights_is_named_with_key_and_both_values(base: Path, model: Path) -> None:
    rewrites: dict[str, Any] = json.loads((REWRITES / "erniekit.json").read_text())
    number = 0
    for name, change in rewrites["files"].items():
        values = json.loads((model / name).read_text())
        for key in change["lost"]:
            number += values.pop(key, None) is not None
        for key, value in change["set"].items():
            part, _, last = key.rpartition(".")
            (values[part] if part else values)[last] = value
            number += 1
        (model / name).write_text(json.dumps(values))
    for name in rewrites["more"]:
        (model / name).write_text("{}")
    found = export.problems(model, base)
    said = 'config.json: vision_config.hidden_act is "gelu_new", the base has "gelu_pytorch_tanh"'
    assert said in found, "PaddleFormers does not load a model with it"
    assert "generation_config.json: eos_token_id is missing, the base has 2" in found
    assert "generation_config.json: max_length is 20, the base has no such key" in found
    assert "static_name_to_dyg_name.json is no file of the base model's" in found
    assert len(found) == number + len(rewrites["more"])


def test_layout_and_order_mean_nothing_and_true_is_not_one(base: Path, model: Path) -> None:
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        values = json.loads((base / name).read_text())
        (model / name).write_text(json.dumps(dict(reversed(values.items())), separators=(",", ":")))
    assert export.problems(model, base) == []
    values["do_rescale"], values["merge_size"], values["resample"] = 1, 2.0, [3]
    (model / "preprocessor_config.json").write_text(json.dumps(values))
    (model / "chat_template.jinja").write_text((base / "chat_template.jinja").read_text().replace("</s>", "<end>"))
    assert export.problems(model, base) == [
        "chat_template.jinja is not the base's",
        "preprocessor_config.json: do_rescale is 1, the base has true",
        "preprocessor_config.json: resample is [3], the base has 3",
    ]
    (model / "preprocessor_config.json").write_text("{")
    assert "preprocessor_config.json cannot be read: JSONDecodeError" in export.problems(model, base)


@pytest.mark.parametrize("move", [True, False])
def test_weights_and_the_bases_small_files_make_a_model(base: Path, tmp_path: Path, move: bool) -> None:
    trained = tmp_path / "trainer"
    trained.mkdir()
    weights = {n: v + 1 for n, v in load_file(str(base / "model.safetensors")).items() if not n.startswith(tiny.HEAD)}
    save_file(weights, str(trained / "model-00001-of-00001.safetensors"))
    save_file({"moment1": np.ones(3)}, str(trained / "optimizer-00001-of-00001.safetensors"))
    for name in ("config.json", "trainer_state.json", "training_args.bin", "model.safetensors.index.json"):
        (trained / name).write_text("{}")
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    made = tmp_path / "made"
    assert export.assemble(sorted(trained.glob(export.WEIGHTS)), base, made, move=move) == len(tiny.HEAD_SHAPES)
    assert export.problems(made, base) == []
    assert all((made / name).read_bytes() == (base / name).read_bytes() for name in export.companions(base))
    whole = load_file(str(made / "model.safetensors"))
    assert all(np.array_equal(whole[name], value) for name, value in weights.items())
    left = {path.name: path.read_bytes() for path in trained.iterdir()}
    assert left == {n: c for n, c in before.items() if not move or not n.startswith("model-")}
