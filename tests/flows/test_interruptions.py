"""The orchestrator is killed, interrupted or cancelled in the middle of a real training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import get_current_settings
from prefect.states import Cancelling

from compute.local import LocalCompute
from runs.calls import stopping
from runs.usage import read_usage
from sft.store import checkpoints
from sft.store.usage import Usage
from tests.support.living import processes, trainers

SFT = str(Path(sys.executable).with_name("sft"))
SETTINGS = [
    "dataset.digits.train_rows=64",
    "dataset.digits.held_out_rows=8",
    "train.batch_size=4",
    "train.save_steps=5",
    "train.logging_steps=1",
    "promote.mode=never",
]
pytestmark = pytest.mark.usefixtures("one_reader", "one_look")


class Orchestrator:
    """``sft run smoke`` with a long training in a process of its own, with the test's Prefect server."""

    def __init__(self, home: Path, steps: int = 100_000, shards: int = 1) -> None:
        environment = {
            **os.environ,
            "SFT_HOME": str(home / "state"),
            "PREFECT_API_URL": str(get_current_settings().api.url),
            "PYTHONWARNINGS": "ignore",
        }
        own = [f"train.max_steps={steps}", f"evaluate.shards={shards}"]
        self.settings = [part for s in [*SETTINGS, *own] for part in ("--set", s)]
        self.log = home / f"log-{time.monotonic_ns()}.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [SFT, "run", "smoke", *self.settings], cwd=home, env=environment, stdout=log, stderr=log
            )

    def wait_for(self, text: str, seconds: float = 90) -> float:
        """Until the terminal says so; returns the seconds it took."""
        started = time.monotonic()
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - started < seconds, self.log.read_text()
            time.sleep(0.05)
        return time.monotonic() - started


@pytest.fixture
def start(home: Path, prefect_server: None) -> Iterator[Callable[..., Orchestrator]]:
    """Starts orchestrators; whatever the test leaves running is stopped."""
    started: list[Orchestrator] = []

    def begin(**settings: int) -> Orchestrator:
        started.append(Orchestrator(home, **settings))
        return started[-1]

    yield begin
    for orchestrator in started:
        orchestrator.process.kill()
        orchestrator.process.wait()
    compute = LocalCompute(home / "state")
    for call in os.listdir(compute.calls):
        compute.cancel(call)


def trainings(home: Path) -> list[str]:
    return [name for name in os.listdir(home / "state" / "calls") if name.startswith("train-")]


def billed(home: Path) -> list[Usage]:
    return [usage for usage in read_usage(LocalCompute(home / "state"), 0) if usage.job == "train"]


def newest_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        return max(client.read_flow_runs(), key=lambda run: run.created.timestamp() if run.created else 0)


def state_of(run: FlowRun) -> str:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run.id).state_name or ""


def test_a_rerun_after_sigkill_attaches_to_the_same_training_and_ctrl_c_ends_it(
    home: Path, start: Callable[..., Orchestrator]
) -> None:
    first = start()
    first.wait_for("checkpoint-5 is complete")
    killed = newest_run()
    first.process.kill()
    first.process.wait()
    second = start()
    second.wait_for("attached to call")
    second.wait_for("checkpoint-5 is complete")
    assert len(trainings(home)) == 1
    assert state_of(killed) == "Crashed", "the killed run is still called running"
    assert len(processes(str(home / "state"))) == 3, "one job, its trainer and the guard of it"

    second.process.send_signal(signal.SIGINT)
    ends(second, home)
    assert state_of(newest_run()) == "Cancelled"
    (run,) = (home / "state" / "volumes" / "outputs" / "runs").iterdir()
    step, checkpoint = checkpoints.listed(run / "trainer")[-1]
    logged = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert step == logged[-1], "the last step was not saved at the stop"
    assert (checkpoint / checkpoints.MANIFEST).exists()
    assert "run again to resume" in second.log.read_text()
    told = [json.loads(line) for line in sft(home, "history", "--json").stdout.splitlines()]
    assert [entry["outcome"] for entry in told] == ["crashed", "cancelled"]
    assert told[0]["identity"] == told[1]["identity"]
    (usage,) = billed(home)
    assert usage.ended
    assert told[1]["training_seconds"] == pytest.approx(usage.seconds()), "from the call's start, not the attaching"


def test_two_triggers_at_the_same_moment_train_once_and_report_the_same(
    home: Path, start: Callable[..., Orchestrator]
) -> None:
    both = [start(steps=30), start(steps=30)]
    results = []
    for orchestrator in both:
        assert orchestrator.process.wait(180) == 0, orchestrator.log.read_text()
        results.append(orchestrator.log.read_text().splitlines()[-1])
    assert results[0] == results[1]
    (run,) = (home / "state" / "volumes" / "outputs" / "runs").iterdir()
    steps = [line.split('"step": ')[1].split(",")[0] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [str(step) for step in range(1, 31)], "each step was trained once"
    assert len(billed(home)) == 1, "it was counted twice"
    (pointer,) = (home / "state" / "volumes" / "outputs" / "calls").glob("train-*.json")
    trained_by = json.loads((run / "record.json").read_text())["call_id"]
    assert json.loads(pointer.read_text())["call_id"] == trained_by, "sft cancel would not have found the training"


def test_who_lost_the_race_for_a_training_leaves_its_call_where_cancel_looks(
    home: Path, start: Callable[..., Orchestrator]
) -> None:
    """Of two that started at once, the loser may have written last: the pointer names a call that has ended."""
    first = start()
    first.wait_for("checkpoint-5 is complete")
    (pointer,) = (home / "state" / "volumes" / "outputs" / "calls").glob("train-*.json")
    kept = json.loads(pointer.read_text())
    (ended,) = (home / "state" / "calls").glob("download_model-*")
    pointer.write_text(json.dumps({**kept, "call_id": ended.name}))
    second = start()
    second.wait_for("works on the same; attached to it")
    deadline = time.monotonic() + 10
    while json.loads(pointer.read_text())["call_id"] != kept["call_id"]:
        assert time.monotonic() < deadline, "sft cancel does not find the training"
        time.sleep(0.1)
    first.process.terminate()
    for orchestrator in (first, second):
        orchestrator.process.wait(60)


def test_a_job_that_one_of_two_runs_stops_is_not_begun_again_by_the_other(
    home: Path, start: Callable[..., Orchestrator]
) -> None:
    """Stopped by a signal; then stopped at Modal, where a call that is cancelled may end like one that died."""
    first = start()
    first.wait_for("checkpoint-5 is complete")
    second = start()
    second.wait_for("attached to call")
    first.process.terminate()
    for orchestrator in (first, second):
        assert orchestrator.process.wait(30) == 130, orchestrator.log.read_text()
    assert "the job was stopped by" in second.log.read_text()
    assert "(SIGTERM)" in second.log.read_text()
    assert second.log.read_text().count("stopping the job") == 0, "somebody else did"
    third = start()
    third.wait_for(" is complete")  # the next checkpoint, whichever it is
    compute = LocalCompute(home / "state")
    (call,) = (name for name in trainings(home) if compute.poll(name).state == "running")
    stopping(compute, call, "cancelled in Prefect")
    os.killpg(int((compute.calls / call / "pid").read_text()), signal.SIGKILL)
    assert third.process.wait(30) == 130, third.log.read_text()
    assert "(cancelled in Prefect)" in third.log.read_text()
    assert len(trainings(home)) == 2
    told = sft(home, "history", "--json").stdout.splitlines()
    assert [json.loads(line)["outcome"] for line in told] == ["cancelled"] * 3


@pytest.mark.parametrize("way", ["SIGTERM", "Prefect"])
def test_a_cancelled_run_kills_its_job_within_ten_seconds_and_ends_cancelled(
    home: Path, start: Callable[..., Orchestrator], way: str
) -> None:
    orchestrator = start()
    orchestrator.wait_for("checkpoint-5 is complete")
    run = newest_run()
    if way == "SIGTERM":
        orchestrator.process.terminate()
    else:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Cancelling())
    ends(orchestrator, home)
    assert state_of(run) == "Cancelled"


def test_a_signal_between_the_start_of_a_job_and_its_following_stops_it(
    home: Path, start: Callable[..., Orchestrator]
) -> None:
    """Sent as soon as the call's folder is there, then as soon as the rerun has told that it attached."""
    first = start()
    calls = home / "state" / "calls"
    while not list(calls.glob("train-*/pid")):
        assert first.process.poll() is None, first.log.read_text()
        time.sleep(0.001)
    first.process.terminate()
    ends(first, home)
    detached = sft(home, "run", "smoke", *first.settings, "--detach")
    assert detached.returncode == 0, detached.stderr
    second = start()
    while "attached to call" not in second.log.read_text():
        assert second.process.poll() is None, second.log.read_text()
        time.sleep(0.001)
    second.process.terminate()
    ends(second, home)


def test_a_signal_while_shares_of_the_evaluation_work_stops_all_of_them(
    home: Path, start: Callable[..., Orchestrator]
) -> None:
    """Sent when the first of six calls is there, then to the rerun when they are followed."""
    first = start(steps=4, shards=3)
    while not list((home / "state" / "calls").glob("predict-*/pid")):
        assert first.process.poll() is None, first.log.read_text()
        time.sleep(0.001)
    first.process.terminate()
    ends(first, home)
    second = start(steps=4, shards=3)
    second.wait_for("predict: 6 calls work side by side")
    second.process.terminate()
    ends(second, home)


def ends(orchestrator: Orchestrator, home: Path) -> None:
    """Its job ends within ten seconds, and it as cancelled."""
    cancelled = time.monotonic()
    while processes(str(home / "state")):
        assert time.monotonic() - cancelled < 10, orchestrator.log.read_text()
        time.sleep(0.05)
    assert orchestrator.process.wait(20) == 130, orchestrator.log.read_text()
    assert processes(str(home / "state")) == [], "it has started another one"


def sft(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SFT_HOME": str(home / "state"), "PYTHONWARNINGS": "ignore"}
    environment["PREFECT_API_URL"] = str(get_current_settings().api.url)
    return subprocess.run([SFT, *args], cwd=home, env=environment, capture_output=True, text=True, timeout=120)


def test_a_detached_training_runs_on_until_it_is_cancelled(home: Path, start: Callable[..., Orchestrator]) -> None:
    settings = [part for s in [*SETTINGS, "train.max_steps=100000"] for part in ("--set", s)]
    left = sft(home, "run", "smoke", *settings, "--detach")
    assert left.returncode == 0, left.stdout + left.stderr
    assert "sft cancel stops it" in left.stdout
    assert state_of(newest_run()) == "Detached"
    assert len(trainings(home)) == 1
    attached = start()
    attached.wait_for("checkpoint-5 is complete")
    wrong = sft(home, "cancel", "ffff")
    assert (wrong.returncode, "no such training runs" in wrong.stderr) == (2, True)
    asked = time.monotonic()
    stopped = sft(home, "cancel")
    assert stopped.returncode == 0, stopped.stderr
    assert processes(str(home / "state")) == []
    assert time.monotonic() - asked < 10 + 3, "ten seconds, and the command's own start"
    assert attached.process.wait(20) == 130, attached.log.read_text()
    told = sft(home, "history", "--json").stdout.splitlines()
    assert [json.loads(line)["outcome"] for line in told] == ["detached", "cancelled"]
    assert sft(home, "cancel").returncode == 2


def test_the_second_ctrl_c_stops_at_once(home: Path, start: Callable[..., Orchestrator]) -> None:
    orchestrator = start()
    orchestrator.wait_for("checkpoint-5 is complete")
    (trainer,) = trainers(lambda: processes(str(home / "state")))
    trainer.suspend()  # it will not obey: the graceful way takes all its time
    orchestrator.process.send_signal(signal.SIGINT)
    orchestrator.wait_for("Ctrl-C again stops it at once")
    time.sleep(0.5)
    again = time.monotonic()
    orchestrator.process.send_signal(signal.SIGINT)
    while processes(str(home / "state")):
        assert time.monotonic() - again < 3, orchestrator.log.read_text()
        time.sleep(0.05)
    assert orchestrator.process.wait(15) == 130
