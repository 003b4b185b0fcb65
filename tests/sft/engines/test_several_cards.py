"""Several processes train together: the same training as by one, ended together, however one of them ends.

On the CPU, where gloo takes NCCL's place. What differs on cards (docs/models.md) is seen on cards alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.numpy import load_file

from compute.local import LocalCompute
from sft.context import Context
from sft.engines import ENGINES
from sft.errors import JobCancelled, TrainingFailed
from sft.jobs.train import TrainArgs, train
from sft.models import export
from sft.store import checkpoints
from sft.training import process
from tests.sft.torch_trainer.torch_python import installed
from tests.support.living import processes
from tests.support.runs import short_training

STEPS, PASSES = 6, 2  # of each step
APART = 1e-3  # of how far the weights have moved: sums in another order, of which AdamW makes more where they are small
PROMPT = 15.0  # seconds; torchrun would give them 30, and a busy machine may take some


def training(state: LocalCompute, identity: str, **changes: Any) -> TrainArgs:
    args = short_training(state, steps=STEPS, save_steps=2, held_out=24)
    values = {"warmup_steps": 1, "gradient_accumulation_steps": PASSES, "devices": 2, **changes}
    spec = args.spec.model_copy(update=values)
    return args.model_copy(update={"engine": "transformers", "identity": identity * 64, "spec": spec})


def trained(state: LocalCompute, args: TrainArgs, log: list[str] | None = None) -> Mapping[str, Any]:
    return train(args, Context(state.volumes, "call-1", say=(log if log is not None else []).append))


def losses(run: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())]


def rank(number: int, run: Path) -> psutil.Process:
    """The process of that rank which trains in ``run``."""
    (found,) = (one for one in processes(str(run)) if one.environ().get("RANK") == str(number))
    return found


@pytest.fixture(scope="module")
def together(state: LocalCompute) -> tuple[Mapping[str, Any], list[str]]:
    """(record, log) of a training by two processes that nothing disturbed."""
    log: list[str] = []
    return trained(state, training(state, "2"), log), log


@installed
def test_two_processes_train_as_one_does(state: LocalCompute, together: tuple[Mapping[str, Any], list[str]]) -> None:
    """Each step has the same rows: its loss is the same, and so are the weights, but for the order of sums."""
    alone = trained(state, training(state, "1", devices=1))
    record, log = together
    one, two = (state.volumes.run(identity * 64) for identity in "12")
    assert [step for step, _ in losses(two)] == list(range(1, STEPS + 1)), "told by one process alone"
    assert [loss for _, loss in losses(one)] == pytest.approx([loss for _, loss in losses(two)], rel=1e-5)
    before, after = (load_file(str(run / "model" / export.SINGLE)) for run in (one, two))
    base = load_file(str(state.volumes.models / record["base_model"] / export.SINGLE))
    assert before.keys() == after.keys()
    moved = sum(float(((weights - base[name]) ** 2).sum()) for name, weights in before.items())
    apart = sum(float(((weights - after[name]) ** 2).sum()) for name, weights in before.items())
    assert moved > 0
    assert (apart / moved) ** 0.5 < APART
    assert record["steps"] == alone["steps"] == STEPS
    told = [line.split() for line in log if "[INFO] - " in line]
    assert [words[-1] for words in told if words[2] == "devices"] == ["2"]
    assert [words[-1] for words in told if words[2] == "gradient_accumulation_steps"] == ["1"]


@installed
def test_one_that_is_killed_takes_the_others_along_and_a_stop_saves_once(
    state: LocalCompute, together: tuple[Mapping[str, Any], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at one step, stopped at another, taken up again: to the last bit what nothing disturbed came to."""
    monkeypatch.setattr(process, "GRACE", 60.0)  # on a busy machine a step and its checkpoint take longer than ours
    args = training(state, "3")
    run = state.volumes.run(args.identity)
    killed: list[float] = []

    def kill() -> None:
        if not killed and (run / "trainer" / "checkpoint-2" / "checkpoint_manifest.json").exists():
            rank(1, run).kill()
            killed.append(time.monotonic())

    log: list[str] = []
    with pytest.raises(TrainingFailed, match=r"(?s)the trainer was killed.*process 1 of the training ended by SIGKILL"):
        train(args, Context(state.volumes, "call-1", say=log.append, commit=kill))
    assert time.monotonic() - killed[0] < PROMPT
    assert processes(str(run)) == [], "no process is left of it"
    asked: list[str] = []

    def stop(line: str) -> None:
        log.append(line)
        if '"event": "progress"' in line and not asked:
            asked.append(line)
            raise JobCancelled("the job was cancelled")

    with pytest.raises(JobCancelled):
        train(args, Context(state.volumes, "call-1", say=stop))
    assert processes(str(run)) == []
    # Which step it was depends on the moment; what was torn at the kill may have been saved again under the same name.
    step, saved = max(checkpoints.listed(run / "trainer"))
    last = json.loads(log[-1].removeprefix("@sft "))
    assert (last["event"], last["step"]) == ("checkpoint", step)
    assert log.index(asked[0]) < len(log) - 1
    assert checkpoints.problems(saved, args.identity, ENGINES["transformers"].checkpoint_problems) == []
    assert sorted(path.name for path in saved.glob("*.pt*")) == [
        *("optimizer.pt", "rng_state_0.pth", "rng_state_1.pth", "scheduler.pt"),
    ]
    record, other = trained(state, args), together[0]
    assert record["resumed_from"] == saved.name
    assert losses(run) == losses(state.volumes.run(other["identity"]))
    assert (record["loss"], record["model_identity"]) == (other["loss"], other["model_identity"])
