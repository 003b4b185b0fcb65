"""The dataset report: counts, histograms, token budget, findings and examples on one self-contained page."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sft.dataset import rows
from sft.dataset.facts import spread
from sft.dataset.findings import Report, SplitStats
from sft.dataset.lines import numbered
from sft.dataset.reading import image_folder
from sft.dataset.rules import RULES
from sft.notation import spotting
from sft.report import render
from sft.report.instrument import TRUE, picture, words
from sft.store import records

BARS = 24
EXAMPLES = 12  # rows shown with their images
LOOKED = 1000  # rows among which examples are looked for
WIDTH, HEIGHT = 420, 130  # px
BASE = 20  # px below the bars, for the labels


def write_dataset_report(
    path: Path, report: Report, *, examples: int = EXAMPLES, run: dict[str, Any] | None = None
) -> None:
    """Write the page.

    Args:
        examples: rows of the training set shown with their images; 0 where they lie elsewhere.
        run: what a training would make of it: steps, rows_per_step, max_seq_len.
    """
    splits = [stats for stats in report.splits if stats.path]
    charts = [
        (title, unit, [(stats.path, histogram(getattr(stats, key))) for stats in splits if getattr(stats, key)])
        for key, title, unit in (
            ("lengths", "Length of the answers", "characters"),
            ("tokens", "Tokens of a row, image and text", "tokens"),
            ("widths", "Width of the images", "px"),
            ("heights", "Height of the images", "px"),
        )
    ]
    findings = [
        {
            "rule": RULES[rule],
            "count": count,
            "kind": report.kind(rule),
            "shown": [finding for finding in report.shown if finding.rule == rule],
        }
        for rule, count in report.ordered()
    ]
    html = render(
        "dataset.html.jinja",
        report=report,
        splits=[(stats, spread(stats.lengths), spread(stats.tokens)) for stats in splits],
        charts=[chart for chart in charts if chart[2]],
        findings=findings,
        examples=_examples(report.train, examples) if examples else [],
        run=run,
    )
    records.write_text(path, html)


def _examples(stats: SplitStats, count: int) -> list[dict[str, Any]]:
    """The first good rows with their pictures; what cannot be read is left out: the findings name it."""
    shown: list[dict[str, Any]] = []
    folder = image_folder(Path(stats.path))
    for _, line in itertools.islice(numbered(Path(stats.path)), LOOKED):
        sample = rows.decode(line, stats.format)
        if sample is None or len(shown) == count:
            continue
        spots = spotting.parse(sample.turns[0][1]) if spotting.has_tokens(sample.turns[0][1]) else []
        places = [(spots, TRUE)] if spots else []
        try:
            pictures = [picture(folder / name, places) for name, _ in sample.images]
        except (OSError, ValueError):
            continue
        turns = [(prompt, words(answer, "spotting" if places else "text")) for prompt, answer in sample.turns]
        shown.append({"pictures": pictures, "turns": turns})
    return shown


def bins(counts: Counter[int]) -> list[tuple[int, int, int]]:
    """(from, to, rows) of up to 24 bars of equal width over the values."""
    if not counts:
        return []
    low, high = min(counts), max(counts)
    width = max(1, -(-(high - low + 1) // BARS))
    sums: Counter[int] = Counter()
    for value, count in counts.items():
        sums[(value - low) // width] += count
    return [(low + i * width, low + (i + 1) * width - 1, sums[i]) for i in range(max(sums) + 1)]


def histogram(counts: Counter[int]) -> str:
    """An SVG of the bars; each says its range and its rows when pointed at."""
    bars = bins(counts)
    top = max(count for _, _, count in bars)
    step = WIDTH / len(bars)
    parts = [_bar(i * step, step, bar, top) for i, bar in enumerate(bars)]
    first, last = bars[0][0], bars[-1][1]
    labels: Sequence[tuple[float, str, str]] = ((0, "start", f"{first}"), (WIDTH, "end", f"{last}"))
    text = "".join(
        f'<text x="{x}" y="{HEIGHT + 14}" text-anchor="{anchor}">{label}</text>' for x, anchor, label in labels
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + BASE}" width="{WIDTH}" '
        f'font-family="sans-serif" font-size="11" role="img">{"".join(parts)}{text}</svg>'
    )


def _bar(x: float, step: float, bar: tuple[int, int, int], top: int) -> str:
    low, high, count = bar
    height = HEIGHT * count / top
    span = f"{low} – {high}" if high > low else f"{low}"
    return (
        f'<rect x="{x:.1f}" y="{HEIGHT - height:.1f}" width="{max(step - 1, 1):.1f}" height="{height:.1f}" '
        f'fill="#0d6efd"><title>{span}: {count} rows</title></rect>'
    )
