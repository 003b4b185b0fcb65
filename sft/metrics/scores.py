"""Scores over many rows, with bootstrap intervals, and the paired difference of two models on the same rows.

Intervals: percentile bootstrap (Efron, 1979), as it is used for recognition error rates (Bisani and Ney, ICASSP 2004),
over documents (the cluster bootstrap: Davison and Hinkley, Bootstrap Methods and their Application, 1997, 3.8): forty
lines of one page are one witness, not forty. Documents are drawn with replacement 1000 times, each with all its rows,
both models on the same draws, so that the difference of two models has an interval of its own. The seed is fixed: the
same rows give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, cast

from sft.metrics.judged import Judged
from sft.store.contents import Change, Scored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS = 1000
AT_ONCE = 20  # draws held in memory together
CONFIDENCE = 0.95
METRICS = ("error", "cer", "wer", "ned")  # less is better


@dataclass(frozen=True)
class Scores:
    """Scores over ``rows`` pairs; error rates and distances are fractions (0 is perfect), ``exact`` a share of rows.

    Attributes:
        error: mean of the rows' errors by their tasks' own measures (see :class:`sft.metrics.judged.Judged`).
        cer: edits / characters of the truth, over all rows together (Σ edits / Σ characters); may exceed 1.
        wer: the same on words between white space.
        ned: normalised edit distance, edits / max(characters of both), as the mean over rows (OmniDocBench).
        exact: rows recognised without any error.
        empty, runaway: rows for which nothing, or far too much, was recognised.
        cut: rows whose answer was cut off at the longest allowed.
        unreadable: rows whose truth the task's measure cannot read: wrong, whatever was recognised.
        structure: mean TEDS-S over the tables; None without tables.
        boxes: mean F1 of the places over the rows of spotting; None without such rows.
        intervals: metric → (low, high), 95 %.
    """

    rows: int
    characters: int
    words: int
    error: float
    cer: float
    wer: float
    ned: float
    exact: float
    empty: int
    runaway: int
    cut: int
    unreadable: int
    structure: float | None = None
    boxes: float | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def as_dict(self) -> Scored:
        """Plain data."""
        return cast("Scored", asdict(self))


def fraction(judged: Judged, metric: str) -> tuple[Floats, Floats]:
    """(numerators, denominators) of a metric, shape (n,) each: its value is Σ numerators / Σ denominators."""
    import numpy as np

    if metric == "cer":
        return judged.edits, judged.characters
    if metric == "wer":
        return judged.word_edits, judged.words
    return getattr(judged, metric), np.ones(len(judged))


def value(judged: Judged, metric: str) -> float:
    """The metric over all rows; 0 where there are none. A truth without characters counts as one."""
    numerators, denominators = fraction(judged, metric)
    return float(numerators.sum() / max(denominators.sum(), 1))


def summarise(judged: Judged, *, intervals: bool = True) -> Scores:
    """The scores of all rows. Example: ("1234", "124") and ("56", "56") → cer 1/6, ned 1/8, exact 1/2."""
    drawn = _resampled(judged, METRICS) if intervals and len(judged) else {}
    return Scores(
        rows=len(judged),
        characters=int(judged.characters.sum()),
        words=int(judged.words.sum()),
        **{metric: value(judged, metric) for metric in (*METRICS, "exact")},
        empty=int(judged.empty.sum()),
        runaway=int(judged.runaway.sum()),
        cut=int(judged.cut.sum()),
        unreadable=int(judged.unreadable.sum()),
        structure=_mean(judged.structure),
        boxes=_mean(judged.boxes),
        intervals={metric: _interval(values) for metric, values in drawn.items()},
    )


def _mean(values: Floats) -> float | None:
    """Over those rows that have such a value (NaN: none)."""
    import numpy as np

    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


@dataclass(frozen=True)
class Difference:
    """A candidate's metric minus the reference's, on the same rows: below 0 the candidate is better.

    Attributes:
        low, high: 95 % interval.
        better: share of the draws in which the candidate is better, 0 to 1.
    """

    value: float
    low: float
    high: float
    better: float

    def as_dict(self) -> Change:
        """Plain data."""
        return cast("Change", asdict(self))


def differences(candidate: Judged, reference: Judged, metrics: Sequence[str] = METRICS) -> dict[str, Difference]:
    """The paired difference of each metric over the same rows, in the same order."""
    if not len(candidate):
        return {}
    ours, theirs = _resampled(candidate, metrics), _resampled(reference, metrics)
    found = {}
    for metric in metrics:
        drawn = ours[metric] - theirs[metric]
        exact = value(candidate, metric) - value(reference, metric)
        found[metric] = Difference(exact, *_interval(drawn), float((drawn < 0).mean()))
    return found


def _interval(drawn: Floats) -> tuple[float, float]:
    import numpy as np

    tail = 50 * (1 - CONFIDENCE)  # per cent
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def _resampled(judged: Judged, metrics: Sequence[str]) -> dict[str, Floats]:
    """Metric → its value in each draw, shape (DRAWS,). The draws depend on the number of documents alone."""
    import numpy as np

    columns = np.stack([column for metric in metrics for column in fraction(judged, metric)], axis=1)
    names, of_row = np.unique(judged.document, return_inverse=True)
    columns = np.stack([np.bincount(of_row, column, len(names)) for column in columns.T], axis=1)
    rng, documents = np.random.default_rng(0), len(names)
    sums = np.empty((DRAWS, columns.shape[1]))
    for start in range(0, DRAWS, AT_ONCE):
        drawn = (np.bincount(rng.integers(0, documents, documents), minlength=documents) for _ in range(AT_ONCE))
        sums[start : start + AT_ONCE] = np.stack(list(drawn)) @ columns
    return {m: sums[:, 2 * i] / np.maximum(sums[:, 2 * i + 1], 1) for i, m in enumerate(metrics)}
