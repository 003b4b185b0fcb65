"""How the error falls with the number of pages, and what more of them would give. Needs no Prefect."""

from __future__ import annotations

from pydantic import BaseModel

from runs.power_law import Expected, Measured, PowerLaw, fit
from sft.metrics.gate import Metric
from sft.report.curve import growth_picture
from sft.store.contents import DevScore
from sft.store.dev import as_point

DRAWN = 32  # parts of the line in a picture


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


def table(growth: Growth) -> list[list[str]]:
    """The head, a row for each part, and for what is expected of more."""
    rows = [["pages", "rows", "steps", growth.metric, "95 % interval", "training"]]
    for point in growth.points:
        interval = f"{point.low:.3f} to {point.high:.3f}"
        numbers = [f"{point.part:g}", str(point.rows), str(point.steps), f"{point.error:.3f}"]
        rows.append([*numbers, interval, point.identity[:16]])
    for times, found in growth.expected().items():
        interval, cost = f"{found.low:.3f} to {found.high:.3f}", growth.costs[times]
        told = f"expected; {cost}" if cost else "expected"
        rows.append([f"{times} ×", str(found.rows), "", f"{found.error:.3f}", interval, told])
    return rows


def picture(growth: Growth) -> str:
    """The same as SVG: the power law's line reaches as far as what is expected of it."""
    law, expected = growth.law(), growth.expected().values()
    first, last = growth.points[0].rows, max(one.rows for one in expected)
    along = [law.at(round(first * (last / first) ** (number / DRAWN))) for number in range(DRAWN + 1)]
    measured = [(one.rows, one.error, one.low, one.high) for one in growth.points]
    fitted, more = ([(one.rows, one.error, one.low, one.high) for one in every] for every in (along, expected))
    return growth_picture(measured, fitted, more, growth.metric)


def verdict(growth: Growth) -> list[str]:
    """What the curve says, in words."""
    law = growth.law()
    by, low, high = law.doubling
    said = "no gain from more pages can be seen: " if low <= 0 else "more pages help: "
    said += f"twice as many lower the {growth.metric} by {100 * by:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"
    if law.holds:
        return [said]
    return [said, "but the points lie further from a power law than chance explains: do not rely on what is expected"]
