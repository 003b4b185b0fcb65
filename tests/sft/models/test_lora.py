"""Merging adapters: against the formula, in each type, and against the unmerged model's own outputs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from safetensors import deserialize
from safetensors.numpy import load_file, save_file

from compute.local import LocalCompute
from runs.named_models import place_of
from sft.config import RunConfig, load
from sft.context import Context
from sft.errors import IntegrityError
from sft.jobs.choose import ChooseArgs, choose
from sft.jobs.placed import found_model
from sft.jobs.train import TrainArgs
from sft.models import export, lora
from sft.models.lora import merge
from sft.models.second_reader import interpreter
from sft.plan import check_export_args, evaluate_args
from sft.store import dev, records
from tests.compute.test_local import TINY, wait
from tests.support.runs import short_training

ROWS = 64  # held-out rows


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    rng = np.random.default_rng(1)
    weights = {"a.weight": rng.normal(size=(3, 5)), "b.weight": rng.normal(size=(4, 4)), "norm.weight": np.ones(7)}
    save_file({k: v.astype(np.float32) for k, v in weights.items()}, str(folder / "model.safetensors"))
    return folder


def adapter(tmp_path: Path, shapes: dict[str, tuple[int, int]]) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "lora_config.json").write_text(json.dumps({"r": 2, "scaling": 2.0}))
    rng = np.random.default_rng(2)
    tensors = {}
    for name, (inputs, outputs) in shapes.items():
        tensors[f"{name}.lora_A"] = rng.normal(size=(inputs, 2)).astype(np.float32)
        tensors[f"{name}.lora_B"] = rng.normal(size=(2, outputs)).astype(np.float32)
    save_file(tensors, str(folder / "peft_model-00001-of-00001.safetensors"))
    return folder


def test_a_merge_adds_the_scaled_product_to_the_hubs_layout(base: Path, tmp_path: Path) -> None:
    given = adapter(tmp_path, {"a": (5, 3), "b": (4, 4)})
    assert merge(base, given, tmp_path / "merged") == 2
    merge(base, given, tmp_path / "again")
    content = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("merged", "again")]
    assert content[0] == content[1], "a model's identity is that of its files"
    before, after = (
        load_file(str(base / "model.safetensors")),
        load_file(str(tmp_path / "merged" / "model.safetensors")),
    )
    lora = load_file(str(given / "peft_model-00001-of-00001.safetensors"))
    for name in ("a", "b"):
        product = lora[f"{name}.lora_A"] @ lora[f"{name}.lora_B"]
        np.testing.assert_allclose(after[f"{name}.weight"], before[f"{name}.weight"] + 2 * product.T, rtol=1e-5)
    np.testing.assert_array_equal(after["norm.weight"], before["norm.weight"])
    assert (tmp_path / "merged" / "config.json").exists()


@pytest.mark.parametrize("shapes", [{"a": (3, 5)}, {"none": (4, 4)}, {}])
def test_an_adapter_that_does_not_fit_is_refused(
    base: Path, tmp_path: Path, shapes: dict[str, tuple[int, int]]
) -> None:
    with pytest.raises(IntegrityError, match="does not fit"):
        merge(base, adapter(tmp_path, shapes), tmp_path / "merged")


def test_an_array_that_is_not_contiguous_is_read_as_it_was_written(tmp_path: Path) -> None:
    """With whatever safetensors is installed: 0.8.0 gives another array back (safetensors #825)."""
    wanted = np.arange(6, dtype=np.float32).reshape(2, 3).T
    save_file({"transposed": wanted}, str(tmp_path / "a.safetensors"))
    np.testing.assert_array_equal(load_file(str(tmp_path / "a.safetensors"))["transposed"], wanted)


def test_a_merge_has_the_same_bits_whatever_computes_it(tmp_path: Path) -> None:
    """OpenBLAS adds up in another order on another number of threads, and a model's identity is that of its bits."""
    folder, rng = tmp_path / "adapter", np.random.default_rng(3)
    base = tmp_path / "base"
    for made in (folder, base):
        made.mkdir()
    (folder / "lora_config.json").write_text(json.dumps({"r": 8, "scaling": 2.0}))
    shapes = {"a": (128, 384), "b": (384, 128), "c": (128, 101)}
    save_file(
        {f"{n}.weight": np.zeros((o, i), np.float32) for n, (i, o) in shapes.items()}, str(base / "model.safetensors")
    )
    pairs = {f"{n}.lora_A": (i, 8) for n, (i, _) in shapes.items()} | {
        f"{n}.lora_B": (8, o) for n, (_, o) in shapes.items()
    }
    save_file(
        {name: rng.standard_normal(shape, np.float32) for name, shape in pairs.items()},
        str(folder / "peft_model-00001-of-00001.safetensors"),
    )
    found = []
    for threads in ("1", "2"):
        body = (
            "import sys; from pathlib import Path; from sft.models.lora import merge; merge(*map(Path, sys.argv[1:]))"
        )
        target = tmp_path / threads
        command = [sys.executable, "-c", body, str(base), str(folder), str(target)]
        subprocess.run(command, check=True, env={**os.environ, "OPENBLAS_NUM_THREADS": threads})
        found.append((target / "model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_bfloat16_is_rounded_to_the_nearest(base: Path, tmp_path: Path) -> None:
    wide = load_file(str(base / "model.safetensors"))["b.weight"]
    bits = (wide.view(np.uint32) >> 16).astype(np.uint16)
    header = json.dumps({"b.weight": {"dtype": "BF16", "shape": [4, 4], "data_offsets": [0, 32]}}).encode()
    (base / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bits.tobytes())
    given = adapter(tmp_path, {"b": (4, 4)})
    merge(base, given, tmp_path / "merged")
    content = (tmp_path / "merged" / "model.safetensors").read_bytes()
    ((_, tensor),) = deserialize(content)  # type: ignore[no-untyped-call]
    merged = (np.frombuffer(bytes(tensor["data"]), np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(4, 4)
    lora = load_file(str(given / "peft_model-00001-of-00001.safetensors"))
    exact = (bits.astype(np.uint32) << 16).view(np.float32) + 2 * (lora["b.lora_A"] @ lora["b.lora_B"]).T
    assert tensor["dtype"] == "BF16"
    assert np.all(np.abs(merged - exact) <= np.abs(exact) * 2**-8)


@pytest.mark.usefixtures("one_look")
def test_a_trained_adapter_reads_the_same_merged_and_unmerged(home: Path) -> None:
    compute = LocalCompute(home / "state")
    wait(compute, compute.start("download_model", TINY))
    args = short_training(compute, steps=30, save_steps=15, held_out=ROWS)
    spec = args.spec.model_copy(update={"lora_rank": 8, "learning_rate": 5e-3, "warmup_steps": 1})
    args = args.model_copy(update={"spec": spec, "identity": "f" * 64})
    record = result_of(compute, "train", args)
    run, base = compute.volumes.run(args.identity), compute.volumes.models / args.base_model
    assert not [name for name in record["model"] if "lora" in name or "peft" in name], "the merged model stands alone"
    settings = ["evaluate.batch_size=16", "evaluate.max_new_tokens=8", f"promote.check_rows={ROWS}"]
    config = load("smoke", settings).config
    judged = evaluate_args(config, args)
    scores = result_of(compute, "evaluate", judged)
    assert scores["base"]["all"] != scores["tuned"]["all"], "the adapter has learned something"
    checked = result_of(compute, "check_export", check_export_args(config, judged))
    assert (checked["problems"], checked["rows"], checked["equal"]) == ([], ROWS, ROWS)
    second = checked["transformers"]
    assert second == {"unchecked": "run make torch"} if interpreter() is None else second["equal"] == ROWS
    check_small_files(base, run / "trainer" / "checkpoint-30", run / "model")
    context = Context(compute.volumes, "call-1", say=lambda line: None)
    with found_model(f"outputs/runs/{run.name}/trainer/checkpoint-30", context) as model:
        assert export.problems(model, base) == []
        theirs, ours = (load_file(str(folder / export.SINGLE)) for folder in (run / "model", model))
        assert theirs.keys() == ours.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours), "it is read with as what it became"
    shutil.rmtree(run / "trainer" / "checkpoint-30")  # as the trainer's rotation does
    place = place_of(config, compute, f"{args.identity}/checkpoint-30")
    assert place == f"outputs/runs/{run.name}/best/checkpoint-30"

    assert lora.differences(base, run / "trainer", run / "model") == []
    upstream = exported(base, run / "trainer", home)
    for name, tensor in weights_of(run / "model").items():
        np.testing.assert_allclose(upstream.pop(name), tensor, rtol=1e-5, atol=1e-7, err_msg=name)
    assert not upstream
    (weights,) = (run / "model").glob("*.safetensors")
    tensors = load_file(str(weights))
    adapted = next(name for name in tensors if name.endswith("q_proj.weight"))
    tensors[adapted] = np.ascontiguousarray(tensors[adapted].T).reshape(tensors[adapted].shape)
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + 1
    save_file(tensors, str(weights))
    assert sorted(lora.differences(base, run / "trainer", run / "model")) == sorted(
        [f"{adapted} is not base plus adapter", "model.norm.weight has no adapter, yet it differs from the base"]
    )
    an_earlier_adapter_is_chosen(compute, args, config, context)


def an_earlier_adapter_is_chosen(compute: LocalCompute, args: TrainArgs, config: RunConfig, context: Context) -> None:
    """The model is then the base with that adapter, and its export is checked against that one."""
    run = compute.volumes.run(args.identity)
    dev.keep(run, run / "trainer" / "checkpoint-15")
    for step, error in ((15, 0.1), (30, 0.2)):
        scores = {"all": {"error": error, "cer": error, "wer": error, "ned": error}}
        facts = {"step": step, "rows": 1, "of_rows": 1, "scores": scores}
        records.write_json(run / "dev" / f"step-{step}.json", facts)
    before = (run / "model" / "model.safetensors").read_bytes()
    record = choose(ChooseArgs(identity=args.identity, metric="error"), context)
    assert record["chosen"]["step"] == 15
    assert (run / "model" / "model.safetensors").read_bytes() != before
    judged = evaluate_args(config, args)
    result_of(compute, "evaluate", judged)
    checked = result_of(compute, "check_export", check_export_args(config, judged))
    assert (checked["problems"], checked["equal"]) == ([], ROWS)


def weights_of(folder: Path) -> dict[str, Any]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(str(path)).items()}


def exported(base: Path, adapter: Path, work: Path) -> dict[str, Any]:
    """The weights that PaddleFormers' own export makes of base and adapter."""
    settings = {"stage": "VL-SFT", "fine_tuning": "lora", "lora": True, "device": "cpu"}
    config = work / "export.json"
    config.write_text(json.dumps({**settings, "model_name_or_path": str(base), "output_dir": str(adapter)}))
    command = [sys.executable, "-m", "sft.environments.cpu_launcher", "export", str(config)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    return weights_of(adapter / "export")


def check_small_files(base: Path, trainer: Path, model: Path) -> None:
    """PaddleFormers rewrites small files of the base; the model has the base's."""
    rewritten = [name for name in export.companions(base) if (trainer / name).is_file()]
    changed = {name for name in rewritten if export.differences(trainer / name, base / name)}
    assert {"config.json", "tokenizer_config.json", "generation_config.json"} <= changed
    assert export.problems(model, base) == []
    assert sorted(path.name for path in model.iterdir()) == sorted([*export.companions(base), export.SINGLE])


def result_of(compute: LocalCompute, job: str, args: BaseModel) -> dict[str, Any]:
    call = compute.start(job, args.model_dump(mode="json"))
    wait(compute, call)
    return compute.result(call)
