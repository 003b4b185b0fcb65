"""The loss curve as a small SVG, drawn by hand: a page that is opened years later needs no plotting library."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 640, 240  # px
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 32  # px around the plot
TICKS = 4
SMOOTH = 0.8  # share of the old value in the smoothed line


def loss_curve(points: Sequence[dict[str, float]]) -> str:
    """SVG of loss (nats per token) over optimiser steps: the raw line pale, the smoothed one (EMA, 0.8) dark.

    Args:
        points: each with ``step`` and ``loss``.
    """
    steps = [point["step"] for point in points]
    losses = [point["loss"] for point in points]
    top, last = max(losses, default=1.0) * 1.05, max(steps, default=1)

    def line(values: Sequence[float]) -> str:
        xs = [LEFT + (WIDTH - LEFT - RIGHT) * step / last for step in steps]
        ys = [TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top) for value in values]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys))

    grid = "".join(_grid(i / TICKS, top, last) for i in range(TICKS + 1))
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


def _smooth(values: Sequence[float]) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        smoothed.append(value if not smoothed else SMOOTH * smoothed[-1] + (1 - SMOOTH) * value)
    return smoothed
