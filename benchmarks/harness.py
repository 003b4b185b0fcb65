"""What every benchmark uses: repeats, median, the ratio to a reference, and the goal it is held to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

REPEATS = 3


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``value`` and ``reference`` have the unit ``unit``; the goal is on their ratio."""

    question: str
    value: float
    reference: float
    unit: str
    goal: str
    met: bool

    @property
    def ratio(self) -> float:
        """value / reference."""
        return self.value / self.reference


def seconds(body: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median duration of ``body``, after one run that is not counted."""
    body()
    durations = []
    for _ in range(repeats):
        started = time.perf_counter()
        body()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def turns(ours: Callable[[], object], reference: Callable[[], object], repeats: int = REPEATS) -> tuple[float, float]:
    """Median durations of both, measured in turns: a machine whose speed drifts is as slow for the one as the other."""
    ours()
    reference()
    durations: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for body, kept in zip((ours, reference), durations):
            started = time.perf_counter()
            body()
            kept.append(time.perf_counter() - started)
    return statistics.median(durations[0]), statistics.median(durations[1])
