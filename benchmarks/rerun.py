"""What does a run cost in which nothing has changed, beyond an empty Prefect flow? And one that has to attach?"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefect.settings import get_current_settings
from prefect.testing.utilities import prefect_test_harness

from benchmarks.harness import REPEATS, Figure, Times, run, seconds, smoke_run
from tests.support.prefect_server import EMPTY_FLOW

SMALL = ["dataset.digits.train_rows=64", "dataset.digits.held_out_rows=24", "train.max_steps=10", "train.save_steps=5"]
LONG = [*SMALL[:2], "train.max_steps=2000", "train.save_steps=500"]


def figures() -> Iterator[Figure]:
    """``sft run smoke`` for the second time, against a flow that does nothing with the same temporary server."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command, environment = smoke_run(folder, SMALL)
        first = run(command, environment, folder)
        again = min((run(command, environment, folder) for _ in range(3)), key=lambda ran: ran.seconds)
        empty = min(
            (run([sys.executable, "-c", EMPTY_FLOW], environment, folder) for _ in range(3)), key=lambda r: r.seconds
        )
    beyond = again.seconds - empty.seconds
    yield Figure("unchanged rerun", again.seconds, empty.seconds, "s (empty flow)", "≤ 5 s beyond", beyond <= 5)
    yield from _attach()
    yield Figure("peak memory of a whole run", first.peak, empty.peak, "MB, all processes (empty flow)", "none", True)


def _attach() -> Iterator[Figure]:
    """SIGKILL of a run that trains, then the same command until it has attached, with a standing Prefect server."""
    with tempfile.TemporaryDirectory() as name, prefect_test_harness(server_startup_timeout=120):
        folder = Path(name)
        command, environment = smoke_run(folder, LONG)
        environment["PREFECT_API_URL"] = str(get_current_settings().api.url)
        with _started(command, environment, folder) as first:
            _until(first, "train: started call")
            first.kill()
        times = Times()
        for _ in range(REPEATS):
            begun = time.perf_counter()
            with _started(command, environment, folder) as again:
                _until(again, "attached to call")
                times.append(time.perf_counter() - begun)
                again.kill()
        with _started(command, environment, folder) as last:
            _until(last, "attached to call")
            last.terminate()  # which stops the training
            last.communicate()
        bare = seconds(lambda: subprocess.run([sys.executable, "-c", "import prefect.flows"], check=True))
    yield Figure("attached after SIGKILL", times.median, bare, "s (import prefect)", "≤ 5 s", times.median <= 5)


def _started(command: Sequence[str], environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise RuntimeError(f"the run ended without saying {text!r}")
