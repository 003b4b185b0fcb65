"""Processes of real jobs: who lives, and trainings that stand still while something else happens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import psutil

TRAINER = "sft.environments.cpu_launcher"


def processes(folder: str) -> list[psutil.Process]:
    """Living processes that belong to a call, the trainer included."""
    return [process for process in psutil.process_iter() if any(folder in part for part in _command(process))]


def trainers(among: Callable[[], list[psutil.Process]], seconds: float = 90) -> list[psutil.Process]:
    """PaddleFormers' trainers among some processes, once there are any."""
    end = time.monotonic() + seconds
    while not (found := [process for process in among() if TRAINER in _command(process)]):
        assert time.monotonic() < end, "nothing trains"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def standing_still(training: list[psutil.Process]) -> Iterator[None]:
    """Trainers take no step while the block runs: what must meet a training that works is not in a race with it."""
    for process in training:
        with contextlib.suppress(psutil.NoSuchProcess):  # a child between fork and exec has the name, too
            process.suspend()
    try:
        yield
    finally:
        for process in training:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def _command(process: psutil.Process) -> list[str]:
    """A process's command line; none of one that has ended."""
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
