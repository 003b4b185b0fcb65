"""Small pictures as SVG, drawn by hand: a page that is opened years later needs no plotting library."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 240  # px
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 32  # px around the plot
TICKS = 4
COLOURS = ("#0d6efd", "#fd7e14", "#198754", "#dc3545", "#6f42c1", "#20c997", "#d63384", "#6c757d")  # Bootstrap's

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """From ``low`` to ``high``; ``log``: in equal ratios, and both are above 0."""

    low: float
    high: float
    log: bool = False
    form: str = ".2f"

    def share(self, value: float) -> float:
        """How far along the axis a value stands, 0 to 1 between its ends."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return float((at - low) / ((high - low) or 1))

    def ticks(self) -> list[tuple[float, str]]:
        """(share, text) of the marks."""
        values = [self._at(number / TICKS) for number in range(TICKS + 1)]
        return [(number / TICKS, format(value, self.form)) for number, value in enumerate(values)]

    def _at(self, share: float) -> float:
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share


class Plot:
    """A picture that grows by what is drawn on it: lines, dots, bars, bands."""

    def __init__(self, across: Axis, up: Axis, says: str, height: int = HEIGHT) -> None:
        """
        Args:
            says: what it shows, for people who do not see it.
            height: of the picture (px); what stands below the plot is added by :meth:`legend`.
        """
        self._across, self._up, self._says, self._height = across, up, says, height
        self._parts: list[str] = []
        self._below = 0
        for share, text in up.ticks():
            y = TOP + (height - TOP - BOTTOM) * (1 - share)
            self._parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
            )
        for share, text in across.ticks():
            x = LEFT + (WIDTH - LEFT - RIGHT) * share
            self._parts.append(f'<text x="{x:.1f}" y="{height - 12}" text-anchor="middle">{text}</text>')

    def places(self, points: Sequence[Point], up: Axis | None = None) -> str:
        """The points as SVG has them; ``up``: by another axis than the plot's."""
        axis = up or self._up
        return " ".join(f"{self._x(x):.1f},{self._y(y, axis):.1f}" for x, y in points)

    def line(self, points: Sequence[Point], colour: str, more: str = "", up: Axis | None = None) -> None:
        """A line through points."""
        self._parts.append(f'<polyline points="{self.places(points, up)}" fill="none" stroke="{colour}"{more}/>')

    def dot(self, x: float, y: float, colour: str, says: str, up: Axis | None = None) -> None:
        """A dot that says something when it is pointed at."""
        place = f'cx="{self._x(x):.1f}" cy="{self._y(y, up or self._up):.1f}"'
        self._parts.append(f'<circle {place} r="3" fill="{colour}"><title>{html.escape(says)}</title></circle>')

    def bar(self, x: float, low: float, high: float, colour: str) -> None:
        """An interval."""
        self.line([(x, low), (x, high)], colour, ' stroke-width="1.5"')

    def band(self, lower: Sequence[Point], upper: Sequence[Point], colour: str) -> None:
        """What lies between two lines."""
        edge = self.places([*lower, *reversed(upper)])
        self._parts.append(f'<polygon points="{edge}" fill="{colour}" fill-opacity="0.15"/>')

    def note(self, text: str, colour: str) -> None:
        """A text in the upper right corner."""
        said = html.escape(text)
        x, y = WIDTH - RIGHT, TOP + 4
        self._parts.append(f'<text x="{x}" y="{y}" text-anchor="end" fill="{colour}">{said}</text>')

    def legend(self, names: Sequence[tuple[str, str]]) -> None:
        """(name, colour) of each line, below the plot."""
        for number, (name, colour) in enumerate(names):
            y = self._height + 14 * number
            place = f'x1="{LEFT}" x2="{LEFT + 20}" y1="{y}" y2="{y}"'
            self._parts.append(f'<line {place} stroke="{colour}" stroke-width="2"/>')
            self._parts.append(f'<text x="{LEFT + 26}" y="{y + 4}">{html.escape(name)}</text>')
        self._below = 14 * len(names)

    def svg(self) -> str:
        """The picture."""
        height = self._height + self._below
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'font-family="sans-serif" font-size="11" role="img" aria-label="{html.escape(self._says)}">'
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>{"".join(self._parts)}</svg>'
        )

    def _x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * self._across.share(value)

    def _y(self, value: float, axis: Axis) -> float:
        return TOP + (self._height - TOP - BOTTOM) * (1 - axis.share(value))
