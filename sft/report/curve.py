"""The loss curve as a small SVG, drawn by hand: a page that is opened years later needs no plotting library."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 640, 240  # px
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 32  # px around the plot
TICKS = 4
DEV = "#fd7e14"
SMOOTH = 0.8  # share of the old value in the smoothed line


def loss_curve(points: Sequence[dict[str, float]], dev: Sequence[dict[str, float]] = ()) -> str:
    """SVG of loss (nats per token) over optimiser steps: the raw line pale, the smoothed one (EMA, 0.8) dark.

    Args:
        points: each with ``step`` and ``loss``.
        dev: each with ``step`` and ``cer``: dots in orange, by an axis of their own on the right.
    """
    steps = [point["step"] for point in points]
    losses = [point["loss"] for point in points]
    top, last = max(losses, default=1.0) * 1.05, max(steps, default=1)

    def line(values: Sequence[float], at: Sequence[float] = steps, most: float = top) -> str:
        xs = [LEFT + (WIDTH - LEFT - RIGHT) * step / last for step in at]
        ys = [TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most) for value in values]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys))

    grid = "".join(_grid(i / TICKS, top, last) for i in range(TICKS + 1))
    rates = [point["cer"] for point in dev]
    highest = max(rates, default=0.0) * 1.05 or 1.0
    grid += _dev(line(rates, [point["step"] for point in dev], highest), rates, highest) if dev else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="11" role="img" aria-label="training loss">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>{grid}'
        f'<polyline points="{line(losses)}" fill="none" stroke="#9ec5fe"/>'
        f'<polyline points="{line(_smooth(losses))}" fill="none" stroke="#0d6efd" stroke-width="2"/></svg>'
    )


def _grid(share: float, top: float, last: float) -> str:
    y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)
    x = LEFT + (WIDTH - LEFT - RIGHT) * share
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * share:.2f}</text>'
        f'<text x="{x:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{last * share:.0f}</text>'
    )


def _dev(line: str, rates: Sequence[float], highest: float) -> str:
    """The dev rows' CER: a line through its dots, each with its value in per cent."""
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="3" fill="{DEV}"><title>{100 * rate:.1f} % on the dev rows</title></circle>'
        for (x, y), rate in zip((point.split(",") for point in line.split()), rates)
    )
    said = f'<text x="{WIDTH - RIGHT}" y="{TOP + 4}" text-anchor="end" fill="{DEV}">CER on dev rows, {{}}</text>'
    return f'<polyline points="{line}" fill="none" stroke="{DEV}"/>{dots}' + said.format(f"top: {100 * highest:.0f} %")


def _smooth(values: Sequence[float]) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        smoothed.append(value if not smoothed else SMOOTH * smoothed[-1] + (1 - SMOOTH) * value)
    return smoothed
