"""A validator's report as plain data, whole: what a job that validates answers, and whoever asked reads again."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, fields
from typing import Any

from sft.dataset.findings import Finding, Report, SplitStats

_NUMBERS = ("lengths", "widths", "heights", "tokens")  # Counters of numbers, which JSON has no keys for


def plain(report: Report) -> dict[str, Any]:
    """The report as JSON types; its size grows with the number of different lengths and sizes, not with the rows."""
    return {
        "train": _stats(report.train),
        "held_out": _stats(report.held_out),
        "dev": None if report.dev is None else _stats(report.dev),
        "mix": {name: _stats(stats) for name, stats in report.mix.items()},
        "counts": dict(report.counts),
        "shown": [asdict(finding) for finding in report.shown],
        "severe": sorted(report.severe),
    }


def report_of(told: dict[str, Any]) -> Report:
    """The report that :func:`plain` made this of."""
    return Report(
        _split(told["train"]),
        _split(told["held_out"]),
        None if told["dev"] is None else _split(told["dev"]),
        {name: _split(stats) for name, stats in told["mix"].items()},
        counts=Counter(told["counts"]),
        shown=[Finding(**finding) for finding in told["shown"]],
        severe=set(told["severe"]),
    )


def _stats(stats: SplitStats) -> dict[str, Any]:
    values = {field.name: getattr(stats, field.name) for field in fields(stats)}
    values |= {name: sorted(values[name].items()) for name in _NUMBERS}
    return {**values, "tasks": dict(stats.tasks), "scripts": {key: list(cost) for key, cost in stats.scripts.items()}}


def _split(told: dict[str, Any]) -> SplitStats:
    counters: dict[str, Any] = {name: Counter(dict(told[name])) for name in _NUMBERS}
    scripts = {key: (int(cost[0]), int(cost[1])) for key, cost in told["scripts"].items()}
    return SplitStats(**{**told, **counters, "tasks": Counter(told["tasks"]), "scripts": scripts})
