"""A training's curve: the trainer's steps in metrics.jsonl and for TensorBoard, and whether it is lost."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from sft.engines.base import Progress
from sft.errors import TrainingFailed
from sft.store.appended import entries
from sft.store.reloads import through_a_reload
from sft.training.events import EVENTS, Board
from sft.training.failures import LEARNING_RATE

METRICS = "metrics.jsonl"
DIVERGED = 20  # progress lines whose mean loss is compared with the best mean of as many
TIMES = 2.0  # how much worse that may be


class Curve:
    """The curve in a training's folder, from ``start`` on; a step stands in it once.

    No file stays open between two steps: Modal refuses to reload a volume of which one is.

    Attributes:
        last: what the trainer told last, None before its first step.
    """

    def __init__(self, run: Path) -> None:
        self.last: Progress | None = None
        self._path, self._folder = run / METRICS, run / EVENTS
        self._losses: list[tuple[int, float]] = []
        self._board: Board | None = None

    def begin(self, start: int) -> None:
        """Go on behind the step ``start``: later ones are told again."""
        self._losses = [(values["step"], values["loss"]) for values in _keep_until(self._path, start)]
        self._board = Board(self._folder, start)

    def take_up(self, step: int) -> None:
        """Nothing is left to train behind ``step``: the curve ends there, and its last line is the last progress."""
        if kept := _keep_until(self._path, step):
            self.last = Progress(**{name: kept[-1][name] for name in Progress.__dataclass_fields__})

    def add(self, progress: Progress) -> None:
        """Keep what the trainer told of a step.

        Raises:
            TrainingFailed: its loss is no longer a number, or diverges.
        """
        self.last = progress
        if not math.isfinite(progress.loss):
            raise TrainingFailed(
                "the loss is no longer a number",
                where=f"step {progress.step}",
                value=str(progress.loss),
                remedy=LEARNING_RATE,
            )
        self._losses.append((progress.step, progress.loss))
        self._check_divergence(progress.step)
        through_a_reload(lambda: self._keep(progress))
        if self._board is not None:
            self._board.add(progress.step, {"loss": progress.loss, "learning_rate": progress.learning_rate})

    def _keep(self, progress: Progress) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({**progress.as_dict(), "time": time.time()}) + "\n")  # Unix time in seconds

    def mean(self, after: int, until: int) -> float | None:
        """Mean loss (nats per token) of the steps behind ``after`` up to ``until``; None if none of them was told."""
        losses = [loss for step, loss in list(self._losses) if after < step <= until]
        return sum(losses) / len(losses) if losses else None

    @property
    def step(self) -> int:
        """The last step that was told; 0 before the first."""
        return self.last.step if self.last else 0

    @property
    def where(self) -> str:
        """How far the training came, as an error says it."""
        return f"step {self.last.step}" if self.last else "no step"

    def _check_divergence(self, step: int) -> None:
        losses = [loss for _, loss in self._losses]
        if len(losses) % DIVERGED or len(losses) < 2 * DIVERGED:
            return
        means = [sum(losses[i : i + DIVERGED]) / DIVERGED for i in range(0, len(losses), DIVERGED)]
        if means[-1] > TIMES * min(means) and means[-1] > means[0]:
            raise TrainingFailed(
                "the loss diverges",
                where=f"step {step}",
                value=f"mean {means[-1]:.3f} of the last {DIVERGED} lines, {min(means):.3f} at best",
                remedy=LEARNING_RATE,
            )


def _keep_until(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the lines of metrics.jsonl past ``step``, which a resumed training writes again; returns the rest."""
    found = entries(path.read_bytes()) if path.exists() else ()
    kept = [values for values in found if values["step"] <= step]
    path.write_text("".join(json.dumps(values) + "\n" for values in kept))
    return kept
