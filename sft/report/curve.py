"""Pictures of trainings: the loss of one, the trials of a sweep, what more pages give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sft.report.plot import COLOURS, HEIGHT, Axis, Plot, Point

DEV = "#fd7e14"
SMOOTH = 0.8  # share of the old value in the smoothed line
ROOM = 1.05  # above the highest value


def loss_curve(points: Sequence[dict[str, float]], dev: Sequence[dict[str, float]] = ()) -> str:
    """SVG of loss (nats per token) over optimiser steps: the raw line pale, the smoothed one (EMA, 0.8) dark.

    Args:
        points: each with ``step`` and ``loss``.
        dev: each with ``step`` and ``cer``: dots in orange, by an axis of their own on the right.
    """
    steps = [point["step"] for point in points]
    losses = [point["loss"] for point in points]
    plot = Plot(Axis(0, max(steps, default=1), form=".0f"), Axis(0, max(losses, default=1.0) * ROOM), "training loss")
    if dev:
        highest = max(point["cer"] for point in dev) * ROOM or 1.0
        axis = Axis(0, highest)
        plot.line([(point["step"], point["cer"]) for point in dev], DEV, up=axis)
        for point in dev:
            plot.dot(point["step"], point["cer"], DEV, f"{100 * point['cer']:.1f} % on the dev rows", up=axis)
        plot.note(f"CER on dev rows, top: {100 * highest:.0f} %", DEV)
    plot.line(list(zip(steps, losses)), "#9ec5fe")
    plot.line(list(zip(steps, _smooth(losses))), "#0d6efd", ' stroke-width="2"')
    return plot.svg()


def trials_picture(trials: Mapping[str, Sequence[Point]], metric: str) -> str:
    """SVG of a sweep: what each trial came to on the dev rows, over optimiser steps.

    Args:
        trials: name → (step, ``metric``) of each rung; one that came to none is named all the same.
    """
    points = [point for line in trials.values() for point in line]
    across = Axis(0, max((step for step, _ in points), default=1), form=".0f")
    plot = Plot(across, Axis(0, max((value for _, value in points), default=1.0) * ROOM), f"{metric} of each trial")
    names = [(name, COLOURS[number % len(COLOURS)]) for number, name in enumerate(trials)]
    for name, colour in names:
        plot.line(list(trials[name]), colour, ' stroke-width="2"')
        for step, value in trials[name]:
            plot.dot(step, value, colour, f"{name}: {value:.3f} at step {step:.0f}")
    plot.note(f"{metric} on the dev rows", "#212529")
    plot.legend(names)
    return plot.svg()


Interval = tuple[float, float, float, float]  # rows, value, low, high


def growth_picture(
    measured: Sequence[Interval], law: Sequence[Interval], expected: Sequence[Interval], metric: str
) -> str:
    """SVG of the error over the number of rows, both in equal ratios: a power law is a straight line there.

    Args:
        measured: what trainings came to.
        law: points of the fitted line, with its band.
        expected: what more rows are expected to come to.
    """
    every = [*measured, *law, *expected]
    values = [max(value, 1e-4) for _, *three in every for value in three]
    rows = [one[0] for one in every]
    plot = Plot(
        Axis(min(rows) / 1.1, max(rows) * 1.1, log=True, form=".0f"),
        Axis(min(values) / 1.1, max(values) * 1.1, log=True, form=".3f"),
        f"{metric} by the number of rows",
        HEIGHT + 60,
    )
    plot.band([(r, max(low, 1e-4)) for r, _, low, _ in law], [(r, high) for r, _, _, high in law], COLOURS[0])
    plot.line([(r, value) for r, value, _, _ in law], COLOURS[0], ' stroke-dasharray="4"')
    for points, colour, what in ((measured, COLOURS[0], "measured"), (expected, COLOURS[1], "expected")):
        for r, value, low, high in points:
            plot.bar(r, max(low, 1e-4), high, colour)
            plot.dot(r, max(value, 1e-4), colour, f"{r:.0f} rows, {what}: {value:.3f} ({low:.3f} to {high:.3f})")
    plot.note(f"{metric} on the dev rows, by rows trained on", "#212529")
    plot.legend([("measured, and the power law through it", COLOURS[0]), ("expected of more rows", COLOURS[1])])
    return plot.svg()


def _smooth(values: Sequence[float]) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        smoothed.append(value if not smoothed else SMOOTH * smoothed[-1] + (1 - SMOOTH) * value)
    return smoothed
