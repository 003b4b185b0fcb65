"""The local adapter with real jobs, real processes and real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from compute.local import LocalCompute
from sft.context import read_event
from sft.errors import ComputeError, IntegrityError, JobCancelled, JobDied, JobError
from tests.support.living import processes
from tests.support.runs import short_training

TINY = {"source": "tiny", "repo": "a/b", "revision": "main"}


@pytest.fixture
def compute(home: Path, one_look: None) -> LocalCompute:
    return LocalCompute(home / "state")


def wait(compute: LocalCompute, call: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while compute.poll(call).state == "running":
        assert time.monotonic() < end, "\n".join(compute.logs(call, "")[0][-20:])
        time.sleep(0.1)


def wait_for(compute: LocalCompute, call: str, kind: str) -> None:
    """Until the job has reported an event of that kind."""
    end, cursor = time.monotonic() + 90, ""
    while time.monotonic() < end:
        lines, cursor = compute.logs(call, cursor)
        if any((event := read_event(line)) and event["event"] == kind for line in lines):
            return
        assert compute.poll(call).state == "running", "\n".join(lines[-20:])
        time.sleep(0.1)
    raise AssertionError(f"no event {kind}")


def test_a_job_runs_to_its_result_and_a_second_finds_it_done(compute: LocalCompute) -> None:
    call = compute.start("download_model", TINY)
    wait(compute, call)
    assert compute.poll(call).state == "done"
    assert compute.result(call)["fetched"] is True
    again = compute.start("download_model", TINY)
    wait(compute, again)
    assert compute.result(again)["fetched"] is False
    ours = {int((compute.calls / name / "pid").read_text()) for name in (call, again)}
    assert not ours & {child.pid for child in psutil.Process().children()}, "a zombie stays"


def test_a_typed_error_comes_back_as_itself(compute: LocalCompute) -> None:
    call = compute.start("train", short_training(compute).model_dump())
    wait(compute, call)
    assert compute.poll(call).state == "failed"
    with pytest.raises(IntegrityError, match="the base model is not on the models volume") as caught:
        compute.result(call)
    assert caught.value.remedy


@pytest.mark.parametrize(("job", "args"), [("no such job", {}), ("train", {"identity": 3})])
def test_a_wrong_request_is_an_error_not_a_silence(compute: LocalCompute, job: str, args: dict[str, Any]) -> None:
    call = compute.start(job, args)
    wait(compute, call)
    with pytest.raises(JobError):
        compute.result(call)


def test_another_process_attaches_by_the_call_id(compute: LocalCompute, home: Path) -> None:
    starter = (
        "import sys, os, pathlib, signal; from compute.local import LocalCompute\n"
        f"print(LocalCompute(pathlib.Path(sys.argv[1])).start('download_model', {TINY!r}), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", starter, str(home / "state")], capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL
    call = process.stdout.strip()
    wait(compute, call)
    assert compute.result(call)["name"].startswith("PaddleOCR-VL-tiny@")


def test_a_job_whose_starter_died_before_it_knew_the_process_is_cancelled_too(
    compute: LocalCompute, home: Path
) -> None:
    starter = (
        "import sys, os, pathlib, signal, subprocess; from compute.local import LocalCompute\n"
        "class Killed(subprocess.Popen):\n"
        "    def __init__(self, *command, **options):\n"
        "        super().__init__(*command, **options)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "subprocess.Popen = Killed\n"
        f"LocalCompute(pathlib.Path(sys.argv[1])).start('download_model', {TINY!r})"
    )
    assert subprocess.run([sys.executable, "-c", starter, str(home / "state")]).returncode == -signal.SIGKILL
    (call,) = (folder.name for folder in compute.calls.iterdir())
    compute.cancel(call)
    assert processes(str(compute.state)) == []
    assert compute.poll(call).state == "cancelled"


@pytest.fixture
def training(compute: LocalCompute) -> str:
    """A real training that would go on for hours; it has reported progress."""
    base = compute.start("download_model", TINY)
    wait(compute, base)
    args = short_training(compute, steps=100_000, save_steps=5)
    call = compute.start("train", args.model_dump())
    wait_for(compute, call, "checkpoint")
    return call


def test_cancel_ends_the_job_and_its_trainer_within_ten_seconds(compute: LocalCompute, training: str) -> None:
    assert len(processes(str(compute.state))) >= 2, "the job and its trainer"
    started = time.monotonic()
    compute.cancel(training)
    assert time.monotonic() - started < 10
    assert processes(str(compute.state)) == []
    assert compute.poll(training).state == "cancelled"
    with pytest.raises(JobCancelled):
        compute.result(training)


def test_a_stopped_process_group_is_cancelled_too(compute: LocalCompute, training: str) -> None:
    group = int((compute.calls / training / "pid").read_text())
    os.killpg(group, signal.SIGSTOP)  # deaf to SIGTERM
    started = time.monotonic()
    compute.cancel(training)
    assert time.monotonic() - started < 10
    assert processes(str(compute.state)) == []


def test_a_killed_job_says_so_with_the_tail_of_its_log_and_takes_its_trainer_along(
    compute: LocalCompute, training: str
) -> None:
    os.kill(int((compute.calls / training / "pid").read_text()), signal.SIGKILL)
    wait(compute, training, 10)
    assert processes(str(compute.state)) == []
    with pytest.raises(JobDied, match="its last lines") as caught:
        compute.result(training)
    assert "global_step" in str(caught.value)


def test_two_trainings_of_one_identity_never_run_at_once(compute: LocalCompute, training: str) -> None:
    second = compute.start("train", short_training(compute, steps=100_000, save_steps=5).model_dump())
    wait(compute, second)
    error = compute.poll(second)
    assert error.state == "failed"
    with pytest.raises(Exception, match="another call trains this already") as caught:
        compute.result(second)
    assert getattr(caught.value, "value", "") == training
    compute.cancel(training)


def test_an_unknown_call_is_unknown(compute: LocalCompute) -> None:
    assert compute.poll("nothing").state == "unknown"


def test_files_of_a_volume(compute: LocalCompute, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("hello")
    compute.put("outputs", source, "x/y/a.txt")
    assert compute.read("outputs", "x/y/a.txt") == b"hello"
    assert [(f.path, f.size) for f in compute.list("outputs", "x")] == [("x/y/a.txt", 5)]
    compute.get("outputs", "x/y/a.txt", tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "hello"
    compute.remove("outputs", "x")
    compute.remove("outputs", "x")
    assert compute.read("outputs", "x/y/a.txt") is None
    with pytest.raises(ComputeError, match="no such file"):
        compute.get("outputs", "x/y/a.txt", tmp_path / "c.txt")
    with pytest.raises(ComputeError, match="leaves the volume"):
        compute.put("outputs", source, "../../escaped")
