"""How the error falls with the number of pages, and what more of them would give. Needs no Prefect."""

from __future__ import annotations

from pydantic import BaseModel

from runs.power_law import Expected, Measured, PowerLaw, fit
from sft.metrics.gate import Metric
from sft.store.contents import DevScore
from sft.store.dev import as_point


class Point(BaseModel):
    """A training on a ``part`` of the pages, so many ``rows``: its error on the dev rows and 95 % interval."""

    part: float
    rows: int
    steps: int
    error: float
    low: float
    high: float
    identity: str

    @classmethod
    def of(cls, part: float, rows: int, steps: int, score: DevScore, metric: Metric, identity: str) -> Point:
        """By what a checkpoint came to."""
        value = as_point(score)[metric]
        low, high = score["scores"]["all"]["intervals"].get(metric, (value, value))
        return cls(part=part, rows=rows, steps=steps, error=value, low=low, high=high, identity=identity)


class Growth(BaseModel):
    """The points by part, the rows of the whole training set, and what so many times as many would cost to train on."""

    metric: Metric
    points: list[Point]
    all_rows: int
    costs: dict[int, str]

    def law(self) -> PowerLaw:
        """The power law through the points."""
        return fit([Measured(point.rows, point.error, point.low, point.high) for point in self.points])

    def expected(self) -> dict[int, Expected]:
        """What so many times as many pages are expected to come to."""
        law = self.law()
        return {times: law.at(times * self.all_rows) for times in self.costs}


def table(growth: Growth) -> list[str]:
    """A Markdown line for each part, and for what is expected of more."""
    lines = [f"| pages | rows | steps | {growth.metric} | 95 % interval | training |", "|---:|---:|---:|---:|---:|---|"]
    for point in growth.points:
        interval = f"{point.low:.3f} to {point.high:.3f}"
        cells = (f"{point.part:g}", point.rows, point.steps, f"{point.error:.3f}", interval, point.identity[:16])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for times, found in growth.expected().items():
        interval, cost = f"{found.low:.3f} to {found.high:.3f}", growth.costs[times]
        lines.append(f"| {times} × | {found.rows} |  | *{found.error:.3f}* | *{interval}* | *expected*; {cost} |")
    return [*lines, "", *(f"- {line}" for line in verdict(growth))]


def verdict(growth: Growth) -> list[str]:
    """What the curve says, in words."""
    law = growth.law()
    by, low, high = law.doubling
    said = "no gain from more pages can be seen: " if low <= 0 else "more pages help: "
    said += f"twice as many lower the {growth.metric} by {100 * by:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"
    if law.holds:
        return [said]
    return [said, "but the points lie further from a power law than chance explains: do not rely on what is expected"]
