"""What a trainer starts ends with it: real trees of processes, in sessions of their own as paddle's launcher makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sft.processes import END_NOW, guarded
from tests.support.living import processes

# As recorded of both trainers: the CLI ends at SIGTERM, alone; the launcher's worker has a session of its own.
STAYS = "import signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
WORKER = f"{STAYS}print('worker', flush=True)\ntime.sleep(60)"
LAUNCHER = f"{STAYS}subprocess.run([sys.executable, '-c', {WORKER!r}, *sys.argv[1:]], start_new_session=True)"
CLI = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {LAUNCHER!r}, *sys.argv[1:]])"
JOB = """
import subprocess, sys, time
from sft.processes import guarded
process = subprocess.Popen(guarded(sys.argv[1:], 1.0), start_new_session=True)
time.sleep(60)
"""


def start(script: str, mark: Path, *, grace: float = 1.0) -> subprocess.Popen[str]:
    """The script under a guard; ``mark`` is what its processes are found by."""
    command = guarded([sys.executable, "-c", script, str(mark)], grace)
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True)


def until_gone(mark: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while left := processes(str(mark)):
        assert time.monotonic() < end, [process.cmdline()[:3] for process in left]
        time.sleep(0.02)


def wait_for_worker(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "worker\n"


def test_a_stop_ends_launcher_and_worker_after_the_cli(tmp_path: Path) -> None:
    with start(CLI, tmp_path) as process:
        wait_for_worker(process)
        assert len(processes(str(tmp_path))) == 4, "guard, CLI, launcher, worker"
        process.terminate()
        until_gone(tmp_path, 5)
        assert process.wait() == -signal.SIGTERM, "as the command ended"


def test_a_killed_job_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", JOB, sys.executable, "-c", CLI, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as job:
        wait_for_worker(job)
        os.killpg(job.pid, signal.SIGKILL)  # with its group, as a cancelled call's
        until_gone(tmp_path, 3)


@pytest.mark.parametrize("victim", ["cli", "launcher"])
def test_whoever_is_killed_in_between_takes_the_rest_along(tmp_path: Path, victim: str) -> None:
    with start(CLI, tmp_path) as process:
        wait_for_worker(process)
        (cli,) = psutil.Process(process.pid).children()
        (cli if victim == "cli" else cli.children()[0]).kill()
        until_gone(tmp_path, 5)
        assert process.wait() == (-signal.SIGKILL if victim == "cli" else 0)


def test_now_means_now(tmp_path: Path) -> None:
    with start(CLI, tmp_path, grace=60) as process:
        wait_for_worker(process)
        process.send_signal(END_NOW)
        until_gone(tmp_path, 3)
        assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("sys.exit(7)", 7), ("os.abort()", -signal.SIGABRT)])
def test_it_ends_as_the_command_does(tmp_path: Path, body: str, code: int) -> None:
    with start(f"import os, sys\n{body}", tmp_path) as process:
        assert process.wait() == code


def test_who_obeys_has_the_grace_and_is_not_asked_twice(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\nasked = []\nsignal.signal(signal.SIGTERM, lambda n, f: asked.append(n))\n"
        "print('worker', flush=True)\nwhile not asked: time.sleep(0.01)\ntime.sleep(0.5)\nsys.exit(len(asked) - 1)"
    )
    with start(script, tmp_path, grace=20) as process:
        wait_for_worker(process)
        process.terminate()
        assert process.wait() == 0


def test_paddles_own_launcher_and_its_worker_end_with_the_cli(tmp_path: Path) -> None:
    """The real ``paddle.distributed.launch``, as both trainers' commands start it, on a script that waits."""
    script = tmp_path / "worker.py"
    script.write_text("import time\nprint('worker', flush=True)\ntime.sleep(60)\n")
    launch = ["-u", "-m", "paddle.distributed.launch", "--log_dir", str(tmp_path / "log"), str(script)]
    with start(f"import subprocess, sys\nsubprocess.run([sys.executable, *{launch!r}])", tmp_path) as process:
        assert process.stdout is not None
        assert "worker\n" in process.stdout
        tree = psutil.Process(process.pid).children(recursive=True)
        assert len({os.getsid(one.pid) for one in tree}) == 2, "the worker has a session of its own"
        process.terminate()
        until_gone(tmp_path, 5)
        assert process.wait() == -signal.SIGTERM
