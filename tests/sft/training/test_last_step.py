"""A training that dies between the checkpoint of its last step and its record has nothing left to train."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from compute.local import LocalCompute
from sft.context import Context
from sft.jobs.train import train
from sft.models import export, lora
from sft.store import records
from tests.compute.test_local import TINY, wait
from tests.support.runs import short_training

# SIGKILL comes when the last checkpoint has been sealed: whoever seals one commits.
KILLED = """
import os, signal, sys
from pathlib import Path
from compute.local import LocalCompute
from sft.jobs.base import Context
from sft.jobs.train import TrainArgs, train
args = TrainArgs.model_validate_json(sys.argv[2])
volumes = LocalCompute(Path(sys.argv[1])).volumes
last = volumes.run(args.identity) / "trainer" / f"checkpoint-{args.spec.max_steps}" / "checkpoint_manifest.json"
def commit() -> None:
    if last.exists():
        os.kill(os.getpid(), signal.SIGKILL)
train(args, Context(volumes, "call-1", commit=commit))
"""


@pytest.mark.usefixtures("one_look")
@pytest.mark.parametrize("rank", [None, 8])
def test_the_model_is_made_of_the_checkpoint_and_no_step_is_trained_again(home: Path, rank: int | None) -> None:
    compute = LocalCompute(home / "state")
    wait(compute, compute.start("download_model", TINY))
    args = short_training(compute, steps=4, save_steps=2)
    args = args.model_copy(update={"spec": args.spec.model_copy(update={"lora_rank": rank})})
    command = [sys.executable, "-c", KILLED, str(home / "state"), args.model_dump_json()]
    killed = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stdout + killed.stderr
    run, base = compute.volumes.run(args.identity), compute.volumes.models / args.base_model
    assert (records.read_record(run), (run / "model").exists()) == (None, False)
    curve = (run / "metrics.jsonl").read_text()
    saved = home / "saved"  # what the trainer has left at its end: an undisturbed run's model is made of it
    shutil.copytree(run / "trainer", saved)
    for path in [*(run / "trainer").glob("*.safetensors")]:
        path.write_bytes(path.read_bytes()[:-9])  # the container's end came while they were saved

    log: list[str] = []
    record = train(args, Context(compute.volumes, "call-2", say=log.append))
    assert not [line for line in log if "global_step" in line], "a trainer was started"
    assert (record["steps"], record["resumed_from"]) == (4, "checkpoint-4")
    assert record["loss"] == json.loads(curve.splitlines()[-1])["loss"]
    assert (run / "metrics.jsonl").read_text() == curve
    assert [json.loads(line)["step"] for line in curve.splitlines()] == [1, 2, 3, 4]
    assert export.problems(run / "model", base) == []
    assert records.broken_files(run / "model", record["model"]) == []
    if rank is not None:
        lora.merge(base, saved, saved / "export")
        saved = saved / "export"
    theirs = {name: tensor for path in saved.glob(export.WEIGHTS) for name, tensor in load_file(str(path)).items()}
    ours = load_file(str(run / "model" / export.SINGLE))
    assert theirs
    assert all(np.array_equal(ours[name], tensor) for name, tensor in theirs.items())
    assert train(args, Context(compute.volumes, "call-3")) == record
