"""How the trials of a sweep stand. Needs no Prefect."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel

from sft.report.curve import trials_picture
from sft.store.contents import DevScore
from sft.store.dev import as_point


class Standing(BaseModel):
    """A trial, and what it came to on the dev rows: points with step, error, cer, wer, ned."""

    label: str
    identity: str
    points: list[dict[str, float]] = []
    failed: bool = False

    def add(self, score: DevScore | None) -> None:
        """One more point; None: it cannot be trained."""
        if score is None:
            self.failed = True
        elif all(point["step"] != score["step"] for point in self.points):
            self.points.append(as_point(score))

    def last(self, metric: str) -> float:
        """Where it stands now, by ``metric``."""
        return math.inf if self.failed else self.points[-1][metric]

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.label} (failed)" if self.failed else self.label


def table(standings: Sequence[Standing], metric: str) -> list[list[str]]:
    """The head, and a row for each trial, the best first: at each step that some came to its ``metric`` on the dev
    rows.
    """
    at = sorted({int(point["step"]) for standing in standings for point in standing.points})
    rows = [["trial", *(f"{metric} at step {step}" for step in at), "training"]]
    for standing in standings:
        by_step = {int(point["step"]): f"{point[metric]:.3f}" for point in standing.points}
        rows.append([standing.name, *(by_step.get(step, "") for step in at), standing.identity[:16]])
    return rows


def picture(standings: Sequence[Standing], metric: str) -> str:
    """The same as SVG."""
    lines = {one.name: [(point["step"], point[metric]) for point in one.points] for one in standings}
    return trials_picture(lines, metric)
