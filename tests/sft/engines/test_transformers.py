"""The engine transformers, end to end on the CPU: trained, killed, resumed, stopped; read by Paddle and by torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from safetensors.numpy import load_file

from compute.local import LocalCompute
from sft.config import load
from sft.context import Context
from sft.dataset.dropped import LeftOut, describe
from sft.engines import ENGINES
from sft.engines.base import Folders, TrainSpec
from sft.errors import TrainingFailed
from sft.jobs.train import TrainArgs, train
from sft.models import export, lora
from sft.models.second_reader import VARIABLE
from sft.plan import check_export_args, evaluate_args
from sft.store import checkpoints
from tests.compute.test_local import wait
from tests.sft.torch_trainer.torch_python import installed, says
from tests.support.living import processes
from tests.support.packed import packed
from tests.support.runs import short_training

HELD_OUT = 24
STEPS = 6
TOO_SHORT = 36  # tokens: some of the lines of digits have more
# SIGKILL comes when a checkpoint has been sealed, while the trainer is at a later step.
KILLED = """
import os, signal, sys
from pathlib import Path
from compute.local import LocalCompute
from sft.jobs.base import Context
from sft.jobs.train import TrainArgs, train
args = TrainArgs.model_validate_json(sys.argv[2])
volumes = LocalCompute(Path(sys.argv[1])).volumes
def commit() -> None:
    if (volumes.run(args.identity) / "trainer" / "checkpoint-2" / "checkpoint_manifest.json").exists():
        os.kill(os.getpid(), signal.SIGKILL)
train(args, Context(volumes, "call-1", commit=commit))
"""


def training(state: LocalCompute, identity: str, **changes: Any) -> TrainArgs:
    args = short_training(state, steps=STEPS, save_steps=2, held_out=HELD_OUT)
    spec = args.spec.model_copy(update={"warmup_steps": 1, **changes})
    return args.model_copy(update={"engine": "transformers", "identity": identity * 64, "spec": spec})


def context(state: LocalCompute, log: list[str] | None = None) -> Context:
    return Context(state.volumes, "call-1", say=(log if log is not None else []).append)


LORA: dict[str, Any] = {"lora_rank": 4, "lora_dropout": 0.1, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def whole(state: LocalCompute) -> Mapping[str, Any]:
    """A training that nothing disturbed."""
    return train(training(state, "a"), context(state))


@pytest.fixture(scope="module")
def adapted(state: LocalCompute) -> Mapping[str, Any]:
    """The same of an adapter, with dropout."""
    return train(training(state, "c", **LORA), context(state))


def once_free(args: TrainArgs, state: LocalCompute) -> Mapping[str, Any]:
    """The training, when the processes of the call that was killed are gone: they end as the kernel tells them."""
    end = time.monotonic() + 20
    while processes(str(state.volumes.run(args.identity))):
        assert time.monotonic() < end
        time.sleep(0.1)
    return train(args, context(state))


def result_of(compute: LocalCompute, job: str, args: BaseModel) -> Mapping[str, Any]:
    call = compute.start(job, args.model_dump(mode="json"))
    wait(compute, call)
    return compute.result(call)


def steps_of(run: Path) -> list[tuple[int, float]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [(values["step"], values["loss"]) for values in map(json.loads, lines)]


@installed
@pytest.mark.parametrize("kind", ["whole", "adapted"])
def test_a_training_that_is_killed_ends_as_one_that_was_not(
    state: LocalCompute, kind: str, request: pytest.FixtureRequest
) -> None:
    """The same steps, losses and weights, to the last bit; its images lie in shards, those of the other as files."""
    undisturbed = request.getfixturevalue(kind)
    args = training(state, "b") if kind == "whole" else training(state, "9", **LORA)
    args = packed(args, state.volumes.data / f"packed-{kind}")
    command = [sys.executable, "-c", KILLED, str(state.state), args.model_dump_json()]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    run, other = state.volumes.run(args.identity), state.volumes.run(undisturbed["identity"])
    assert not (run / "record.json").exists()
    record = once_free(args, state)
    assert record["resumed_from"] in ("checkpoint-2", "checkpoint-4")
    assert (record["steps"], record["loss"]) == (STEPS, undisturbed["loss"])
    assert steps_of(run) == steps_of(other)
    assert record["model_identity"] == undisturbed["model_identity"]
    assert export.problems(run / "model", state.volumes.models / args.base_model) == []


@installed
def test_what_it_trained_is_read_by_paddle_and_by_transformers_alike(
    state: LocalCompute, whole: Mapping[str, Any]
) -> None:
    args = training(state, "a")
    settings = ["evaluate.batch_size=16", "evaluate.max_new_tokens=8", f"promote.check_rows={HELD_OUT}"]
    config = load("smoke", settings).config
    judged = evaluate_args(config, args)
    scores = result_of(state, "evaluate", judged)
    assert scores["base"]["all"] != scores["tuned"]["all"], "something has been learned"
    checked = result_of(state, "check_export", check_export_args(config, judged))
    assert (checked["problems"], checked["equal"]) == ([], HELD_OUT)
    assert (checked["transformers"]["equal"], checked["transformers"]["missing" if False else "rows"]) == (
        HELD_OUT,
    ) * 2


@installed
def test_an_adapter_reads_the_same_in_paddle_merged_and_live(state: LocalCompute, adapted: Mapping[str, Any]) -> None:
    args = training(state, "c", **LORA)
    run, base = state.volumes.run(args.identity), state.volumes.models / args.base_model
    assert lora.differences(base, run / "trainer", run / "model") == []
    before, after = load_file(str(base / export.SINGLE)), load_file(str(run / "model" / export.SINGLE))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name.partition(".")[0] for name in changed} == {"model", "visual", "mlp_AR"}
    settings = ["evaluate.batch_size=16", "evaluate.max_new_tokens=8", f"promote.check_rows={HELD_OUT}"]
    config = load("smoke", settings).config
    judged = evaluate_args(config, args)
    result_of(state, "evaluate", judged)
    checked = result_of(state, "check_export", check_export_args(config, judged))
    assert (checked["problems"], checked["equal"], checked["transformers"]["equal"]) == ([], HELD_OUT, HELD_OUT)


@installed
def test_frozen_parts_stay_and_what_is_too_long_is_counted(state: LocalCompute) -> None:
    log: list[str] = []
    args = training(state, "d", frozen=("vision", "projector"), max_steps=2, max_seq_len=TOO_SHORT, dropped_rows=1.0)
    record = train(args, context(state, log))
    run, base = state.volumes.run(args.identity), state.volumes.models / args.base_model
    before, after = load_file(str(base / export.SINGLE)), load_file(str(run / "model" / export.SINGLE))
    parts = {name.partition(".")[0] for name in before if not np.array_equal(before[name], after[name])}
    assert parts == {"model", "lm_head"}
    told = [line for line in log if "[LEFT OUT]" in line]
    assert told, "some rows of the digits are longer"
    assert record["left_out"]["why"] == {"longer than max_seq_len": len(told)}
    assert "longer than max_seq_len" in describe(record["left_out"])
    strict = LeftOut(ENGINES["transformers"].left_out, record["left_out"]["rows"], args.spec.dropped_rows / 100)
    with pytest.raises(TrainingFailed, match=r"leaves out rows: longer than max_seq_len"):
        strict.read(told[0], 0)


@installed
def test_a_stop_saves_a_checkpoint_in_time_and_it_is_resumed_from(state: LocalCompute) -> None:
    args = training(state, "f", max_steps=200, save_steps=1000)
    command = [sys.executable, "-c", KILLED, str(state.state), args.model_dump_json()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "global_step: 3," in line:
            break
    process.send_signal(signal.SIGINT)  # as a call is cancelled
    begun = time.monotonic()
    process.communicate()
    assert time.monotonic() - begun < 20
    run = state.volumes.run(args.identity)
    ((step, checkpoint),) = checkpoints.listed(run / "trainer")
    assert step >= 3
    engine = ENGINES["transformers"]
    assert checkpoints.problems(checkpoint, args.identity, engine.checkpoint_problems) == []
    (checkpoint / "optimizer.pt").write_bytes((checkpoint / "optimizer.pt").read_bytes()[:-100])
    assert checkpoints.problems(checkpoint, args.identity, engine.checkpoint_problems) != []


@installed
def test_a_checkpoint_runs_no_code(state: LocalCompute, whole: Mapping[str, Any], tmp_path: Path) -> None:
    """What is in a checkpoint are numbers: a pickle that does anything else is refused by torch."""
    checkpoint = state.volumes.run("a" * 64) / "trainer" / "checkpoint-6"
    assert not list(checkpoint.glob("*.bin"))
    body = """
import json, os, sys, torch
from pathlib import Path
class Evil:
    def __reduce__(self):
        return (os.system, (f"touch {sys.argv[3]}",))
from transformers.trainer_pt_utils import safe_globals
for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
    with safe_globals():
        torch.load(Path(sys.argv[1]) / name, weights_only=True)
import shutil, yaml
from sft.torch_trainer.__main__ import main
work = Path(sys.argv[2])
shutil.copytree(sys.argv[1], work / "checkpoint-6")
settings = yaml.safe_load((Path(sys.argv[1]).parents[1] / "work" / "train.yaml").read_text())
torch.save(Evil(), work / "checkpoint-6" / "optimizer.pt")
settings |= {"output_dir": str(work), "max_steps": 7, "resume_from_checkpoint": str(work / "checkpoint-6")}
(work / "train.yaml").write_text(yaml.safe_dump(settings))
try:
    main(work / "train.yaml")
except Exception as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""
    assert "Weights only load failed" in says(body, checkpoint, tmp_path, tmp_path / "touched")
    assert not (tmp_path / "touched").exists()


def spec(**changes: Any) -> TrainSpec:
    return load("smoke").config.train.spec(10, "cpu").model_copy(update=changes)


def test_without_its_environment_one_error_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(TrainingFailed, match="no environment with torch") as caught:
        ENGINES["transformers"].command(spec(), Folders(*[tmp_path] * 5), None)
    assert "make torch" in caught.value.remedy


def test_an_environment_that_lacks_a_package_is_named_too(tmp_path: Path) -> None:
    """This project's own Python has no torch."""
    command = [sys.executable, "-P", "-m", "sft.torch_trainer", str(tmp_path / "none.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert process.returncode == 3
    assert "run make torch" in process.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["train.precision=float16"], "train.precision float16 is for GPUs"),
        (["train.freeze=[vision,text,projector]"], "leaves nothing to train"),
        (["train.freeze=[vision]", "train.lora.rank=4"], "train.lora.targets says where adapters go"),
    ],
)
def test_what_it_cannot_do_is_said_before_anything_starts(settings: list[str], said: str) -> None:
    with pytest.raises(Exception, match=said):
        load("smoke", ["engine=transformers", *settings])


@pytest.mark.parametrize("engine", ["paddleformers"])
@pytest.mark.parametrize(
    "setting",
    ["train.freeze=[vision]", "train.lora.dropout=0.1", "train.lora.alpha=3", "train.lora.targets=[text]",
     "train.lora.four_bit=true", "train.recompute=always"],
)  # fmt: skip
def test_what_only_it_can_do_is_refused_by_the_others(engine: str, setting: str) -> None:
    name = setting.partition("=")[0]
    with pytest.raises(Exception, match=f"{name}.* needs engine transformers"):
        load("smoke", [f"engine={engine}", setting])


def test_settings_that_came_later_leave_the_identities_of_before() -> None:
    plain = spec().identity()
    assert plain.keys().isdisjoint({"lora_alpha", "lora_dropout", "lora_targets", "four_bit", "frozen", "recompute"})
    assert plain.keys() == {
        *("max_steps", "epochs", "warmup_steps", "learning_rate", "min_learning_rate", "lr_scheduler", "batch_size"),
        *("gradient_accumulation_steps", "max_seq_len", "weight_decay", "seed", "precision", "lora_rank"),
    }
    assert spec(lora_dropout=0.1).identity() == {**plain, "lora_dropout": 0.1}
