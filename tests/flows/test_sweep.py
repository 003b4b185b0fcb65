"""A sweep for real: killed in the middle, it goes on where it was; the better trial is trained to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import get_current_settings

from compute.local import LocalCompute
from runs.ledger import read_ledger
from sft.store import records
from tests.support.living import processes, standing_still, trainers
from tests.support.modal_runs import SFT

pytestmark = pytest.mark.usefixtures("prefect_server", "one_reader", "one_look")
SETTINGS = [
    *("dataset.digits.train_rows=120", "dataset.digits.held_out_rows=8", "dataset.dev_share=0.3"),
    *("train.max_steps=24", "train.logging_steps=1", "train.warmup_steps=1", "promote.mode=never"),
    "train.batch_size=4",
]
COMMAND = [SFT, "sweep", "smoke", "--grid", "train.learning_rate=2e-3,5e-2"]


class Sweep:
    """``sft sweep`` in a process of its own; what it says stands in a file."""

    def __init__(self, home: Path, *more: str, at_once: int = 1) -> None:
        api = str(get_current_settings().api.url)
        variables = {**os.environ, "PREFECT_API_URL": api, "SFT_HOME": str(home / "state")}
        settings = [part for setting in (*SETTINGS, *more) for part in ("--set", setting)]
        command = [*COMMAND, *settings, "--at-once", str(at_once)]
        self._log = home / f"log-{time.monotonic_ns()}.txt"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=home, env=variables, stdout=log, stderr=log)

    def said(self) -> str:
        """All that it has said."""
        return self._log.read_text()

    def until(self, seen: Callable[[], bool], seconds: float = 120) -> None:
        """While it works, wait until something is so."""
        end = time.monotonic() + seconds
        while not seen():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)

    def end(self, seconds: float = 240) -> tuple[int, str]:
        """Its return code, and what it said."""
        return self.process.wait(seconds), self.said()


def of_trainings(compute: LocalCompute) -> dict[str, list[dict[str, Any]]]:
    """Training's identity → its calls' requests, by the learning rate."""
    found: dict[str, list[dict[str, Any]]] = {}
    for folder in sorted(compute.calls.glob("train-*")):
        if (request := records.read_json(folder / "request.json")) is None:
            continue  # it is being started
        found.setdefault(str(request["args"]["spec"]["learning_rate"]), []).append(request)
    return found


def test_killed_in_the_middle_it_goes_on_and_the_better_half_is_trained_to_its_end(home: Path) -> None:
    compute = LocalCompute(home / "state")
    first = Sweep(home)
    first.until(lambda: len(of_trainings(compute)) == 2)  # the second trial trains
    first.process.kill()
    first.process.wait()
    (good,) = of_trainings(compute)["0.002"]
    run = compute.volumes.run(good["args"]["identity"])
    before = json.loads((run / "dev" / "step-12.json").read_text())
    assert records.read_record(run) is None, "it was paused at half of its steps"

    with standing_still(trainers(lambda: processes(str(home / "state")))):
        again = Sweep(home)
        again.until(lambda: "attached to call" in again.said())  # the second trial's training works on
    code, out = again.end()
    assert code == 0, out
    assert "2 trials, 36 steps in all of 48" in out
    calls = of_trainings(compute)
    assert (len(calls["0.002"]), len(calls["0.05"])) == (2, 1), "the worse one is not trained on"
    assert json.loads((run / "dev" / "step-12.json").read_text()) == before, "and what was read is not read again"
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 25)), "each step was trained once"
    record = records.read_record(run) or {}
    assert (record["steps"], record["chosen"]["step"] >= 12) == (24, True)
    (page,) = (home / "models" / "sweeps").glob("smoke-*/report.html")
    assert page.read_text().count("<circle") == 3, "one came to half of the steps, one to both"
    assert "learning_rate=2e-3" in out.partition("trial  ")[2].splitlines()[2], "the best stands first"
    assert (home / "models" / f"smoke-{record['identity'][:8]}" / "report.html").exists()

    code, out = Sweep(home, "budget.max_hours=0.0001", "train.seed=2").end(120)
    assert (code, "budget.max_hours: the run reached its bound" in out) == (1, True), out
    assert len(of_trainings(compute)["0.002"]) == 3, "one had begun"
    assert not [call for call in compute.calls.iterdir() if compute.poll(call.name).state == "running"]
    (entry,) = [one for one in read_ledger(compute) if one.outcome == "completed" and one.steps == 36]
    assert entry.training_seconds > 1, "what the trials took"


def test_ctrl_c_stops_all_trials_and_says_so_once(home: Path) -> None:
    compute = LocalCompute(home / "state")
    sweep = Sweep(home, "train.max_steps=100000", "train.save_steps=100000", at_once=2)
    sweep.until(lambda: [steps(compute, calls[0]) for calls in of_trainings(compute).values()] == [True, True])
    sweep.process.send_signal(signal.SIGINT)
    code, out = sweep.end(60)
    assert code == 130, out
    assert out.count("stopping the job") == 1, out
    assert not [call for call in compute.calls.iterdir() if compute.poll(call.name).state == "running"]


def steps(compute: LocalCompute, request: dict[str, Any]) -> bool:
    """Has the training of a call begun to take steps?"""
    return (compute.volumes.run(request["args"]["identity"]) / "metrics.jsonl").exists()
