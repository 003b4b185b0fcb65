"""A saved model that cannot be served, or does not read as it was evaluated, is found before it is promoted."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compute.local import LocalCompute
from sft import export, records
from sft.config import load
from sft.plan import check_export_args, evaluate_args
from sft.smoke import tiny
from tests.compute.test_local import TINY, wait
from tests.sft.test_lora import result_of
from tests.support.runs import short_training


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


def test_half_precision_is_looked_at_too(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"good": np.ones(4, np.float16), "bad": np.array([1, np.inf], np.float16)}, str(path))
    assert list(export.not_finite(path)) == ["bad"]


def test_a_model_that_reads_otherwise_than_evaluated_is_refused(home: Path) -> None:
    compute = LocalCompute(home / "state")
    wait(compute, compute.start("download_model", TINY))
    args = short_training(compute)
    run, base = compute.volumes.run(args.identity), compute.volumes.models / args.base_model
    shutil.copytree(base, run / "model", ignore=shutil.ignore_patterns(records.RECORD))
    files = records.manifest(run / "model")
    facts = {"identity": args.identity, "name": "n", "model": files, "model_identity": records.manifest_hash(files)}
    more = {"spec": args.spec.model_dump(), "engine": "e", "engine_version": "1", "steps": 1, "seconds": 1, "loss": 1}
    places = {"dataset": "d", "base_model": "b", "resumed_from": None}
    records.write_record(run, {**facts, **more, **places})
    config = load("smoke", ["evaluate.batch_size=4", "evaluate.max_new_tokens=8", "promote.check_rows=4"]).config
    judged = evaluate_args(config, args)
    result_of(compute, "evaluate", judged)
    (answers,) = (compute.volumes.outputs / judged.place(records.manifest_hash(files))).glob("*.jsonl")
    answers.write_text(answers.read_text().replace('"text": "', '"text": "9'))
    checked = result_of(compute, "check_export", check_export_args(config, judged))
    assert (checked["rows"], checked["equal"]) == (4, 0)
    assert checked["problems"] == ["only 0 of 4 evaluated answers are reproduced"]
    (run / "model" / "model.safetensors").write_bytes(b"torn")
    shutil.rmtree(run / "export")
    checked = result_of(compute, "check_export", check_export_args(config, judged))
    assert "model.safetensors: 4 bytes instead of" in checked["problems"][0]
