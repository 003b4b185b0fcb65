"""Several processes train together: the same training as by one, ended together, however one of them ends.

On the CPU, where gloo takes NCCL's place. What differs on cards (docs/models.md) is seen on cards alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from compute.local import LocalCompute
from sft.context import Context
from sft.engines import ENGINES
from sft.errors import SftError, TrainingFailed
from sft.jobs.train import TrainArgs, train
from sft.models import export
from sft.store import checkpoints
from tests.compute.test_local import TINY, processes, wait
from tests.sft.torch_trainer.torch_python import installed
from tests.support.runs import short_training

STEPS, PASSES = 4, 4  # of each step
TOLERANCE = 2e-5  # of a weight, relative and absolute: sums in another order
# A call that is to be asked to stop, or that kills one of its training's processes at a step.
CALL = """
import sys
from pathlib import Path
from compute.local import LocalCompute
from sft.context import Context
from sft.jobs.train import TrainArgs, train
train(TrainArgs.model_validate_json(sys.argv[2]), Context(LocalCompute(Path(sys.argv[1])).volumes, "call-1"))
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCompute]:
    """A state folder with the tiny base model."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("SFT_HOME", str(home / "state"))
        compute = LocalCompute(home / "state")
        wait(compute, compute.start("download_model", TINY))
        yield compute


def training(state: LocalCompute, identity: str, **changes: Any) -> TrainArgs:
    args = short_training(state, steps=STEPS, save_steps=2, held_out=24)
    values = {"warmup_steps": 1, "gradient_accumulation_steps": PASSES, "devices": 2, **changes}
    spec = args.spec.model_copy(update=values)
    return args.model_copy(update={"engine": "transformers", "identity": identity * 64, "spec": spec})


def trained(state: LocalCompute, args: TrainArgs, log: list[str] | None = None) -> Mapping[str, Any]:
    return train(args, Context(state.volumes, "call-1", say=(log if log is not None else []).append))


def losses(run: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())]


def ranks(run: Path) -> dict[int, int]:
    """Rank → process of those that train below ``run``."""
    found = {}
    for pid in processes(str(run)):
        try:
            variables = dict(
                part.split(b"=", 1)
                for part in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if b"=" in part
            )
        except OSError:
            continue
        if b"RANK" in variables:
            found[int(variables[b"RANK"])] = int(pid)
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
    assert np.allclose(*([loss for _, loss in losses(run)] for run in (one, two)), rtol=1e-5)
    before, after = (load_file(str(run / "model" / export.SINGLE)) for run in (one, two))
    base = load_file(str(state.volumes.models / record["base_model"] / export.SINGLE))
    assert before.keys() == after.keys()
    for name, weights in before.items():
        assert np.allclose(weights, after[name], rtol=TOLERANCE, atol=TOLERANCE), name
    assert any(not np.allclose(base[name], weights, atol=100 * TOLERANCE) for name, weights in before.items())
    assert record["steps"] == alone["steps"] == STEPS
    settings = [line.split(": ")[-1] for line in log if "- devices  " in line or "- gradient_accumulation_steps " in line]
    assert sorted(settings) == ["2", "2"], "asked of the trainer, not of the config file"
