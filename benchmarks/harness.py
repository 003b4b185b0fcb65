"""What every benchmark uses: warm-up, repeats, median, the ratio to a reference, peak memory, the goal."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sft.processes import repeating

REPEATS = 3
LOOK = 0.5  # seconds between two looks at memory: twenty a second took 40 % of a core from what was measured


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``value`` and ``reference`` have the unit ``unit``; the goal is on their ratio.

    ``spread`` are the lowest and the highest ratio of the repeats, where both were measured in turns.
    """

    question: str
    value: float
    reference: float
    unit: str
    goal: str
    met: bool
    spread: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        """value / reference."""
        return self.value / self.reference

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**self.__dict__, "ratio": self.ratio}


class Times(list[float]):
    """Durations of repeats (s)."""

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self)


def measured(body: Callable[[], object], repeats: int = REPEATS, *, warm_up: bool = True) -> Times:
    """Durations of ``body``, after one run that is not counted."""
    if warm_up:
        body()
    durations = Times()
    for _ in range(repeats):
        started = time.perf_counter()
        body()
        durations.append(time.perf_counter() - started)
    return durations


def seconds(body: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median duration of ``body``, after one run that is not counted."""
    return measured(body, repeats).median


def once(body: Callable[[], object]) -> float:
    """Duration of ``body``, run a single time."""
    return measured(body, 1, warm_up=False).median


@dataclass(frozen=True)
class Turns:
    """Durations of two bodies that took turns (s)."""

    ours: Times
    reference: Times

    def rate(self, count: float, other: float | None = None) -> tuple[float, float]:
        """How many a second each did, of ``count`` things each time (the reference: of ``other``)."""
        return count / self.ours.median, (count if other is None else other) / self.reference.median

    def spread(self, count: float = 1, other: float = 1) -> tuple[float, float]:
        """The lowest and the highest ratio of the rates, turn by turn."""
        ratios = [count / ours * reference / other for ours, reference in zip(self.ours, self.reference)]
        return min(ratios), max(ratios)


def turns(ours: Callable[[], object], reference: Callable[[], object], repeats: int = REPEATS) -> Turns:
    """Measured in turns: a machine whose speed drifts is as slow for the one as the other."""
    ours()
    reference()
    durations = Turns(Times(), Times())
    for _ in range(repeats):
        durations.ours.append(once(ours))
        durations.reference.append(once(reference))
    return durations


@dataclass(frozen=True)
class Ran:
    """A command that was run: its wall time (s), its output, and the peak memory of all its processes (MB)."""

    seconds: float
    output: str
    peak: float


def run(command: Sequence[str], environment: dict[str, str], folder: Path) -> Ran:
    """Run a command to its end; memory is looked at twice a second, over the process and all its descendants.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    started, peak = time.perf_counter(), [0.0]
    with (
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
        repeating(LOOK, lambda: _look(process.pid, peak)),
    ):
        output = process.communicate()[0]
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return Ran(time.perf_counter() - started, output, peak[0])


def smoke_run(folder: Path, settings: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(command, environment) of ``sft run smoke`` with all its state below ``folder``."""
    command = [str(Path(sys.executable).with_name("sft")), "run", "smoke"]
    command += [part for setting in settings for part in ("--set", setting)]
    places = {"SFT_HOME": str(folder / "state"), "PREFECT_HOME": str(folder / "prefect")}
    quiet = {"PYTHONWARNINGS": "ignore", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return command, {**os.environ, **places, **quiet}


def _look(pid: int, peak: list[float]) -> None:
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
        sizes = [process.memory_info().rss for process in family if process.is_running()]
        peak[0] = max(peak[0], sum(sizes) / 1e6)
