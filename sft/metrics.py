"""Error rates of recognised text. Each is computed on Unicode code points, after :func:`normalise`.

Version 1. The worked example of each: truth "1234", recognised "124" (one deletion).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rapidfuzz.distance import Levenshtein

VERSION = 1


def normalise(text: str) -> str:
    """NFC, and every run of white space as one space: the recogniser is not charged for layout."""
    return " ".join(unicodedata.normalize("NFC", text).split())


@dataclass(frozen=True)
class Scores:
    """Scores over ``rows`` pairs; error rates and distances are fractions (0 is perfect), ``exact`` a share of rows.

    Attributes:
        cer: edits / characters of the truth, over all rows together (Σ edits / Σ characters); may exceed 1.
        wer: the same on words between white space.
        ned: normalised edit distance, edits / max(characters of both), as the mean over rows (OmniDocBench,
            Ouyang et al. 2024, "Normalized Edit Distance").
        exact: rows recognised without any error.
        empty: rows for which nothing was recognised.
    """

    rows: int
    characters: int
    words: int
    cer: float
    wer: float
    ned: float
    exact: float
    empty: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def distance(truth: str, recognised: str) -> int:
    """Levenshtein distance: insertions, deletions and substitutions cost 1 each. Example: ("1234", "124") → 1."""
    return Levenshtein.distance(truth, recognised)


def ned(truth: str, recognised: str) -> float:
    """Normalised edit distance of one row. Example: ("1234", "124") → 1/4; two empty texts → 0."""
    longest = max(len(truth), len(recognised))
    return distance(truth, recognised) / longest if longest else 0.0


def score(pairs: Iterable[tuple[str, str]]) -> Scores:
    """Scores of (truth, recognised) pairs. Example: [("1234", "124"), ("56", "56")] → cer 1/6, ned 1/8, exact 1/2."""
    rows = characters = words = edits = word_edits = exact = empty = 0
    ned_sum = 0.0
    for truth, recognised in ((normalise(a), normalise(b)) for a, b in pairs):
        truth_words, recognised_words = truth.split(), recognised.split()
        rows += 1
        characters += len(truth)
        words += len(truth_words)
        cost = distance(truth, recognised)
        edits += cost
        word_edits += Levenshtein.distance(truth_words, recognised_words)
        ned_sum += cost / max(len(truth), len(recognised), 1)
        exact += truth == recognised
        empty += not recognised
    return Scores(
        rows=rows,
        characters=characters,
        words=words,
        cer=edits / max(characters, 1),
        wer=word_edits / max(words, 1),
        ned=ned_sum / max(rows, 1),
        exact=exact / max(rows, 1),
        empty=empty,
    )


def by_group(
    rows: Sequence[Any], group: Callable[[Any], str], pair: Callable[[Any], tuple[str, str]]
) -> dict[str, Scores]:
    """Scores of each group of rows, such as the tasks."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        groups.setdefault(group(row), []).append(pair(row))
    return {name: score(pairs) for name, pairs in sorted(groups.items())}
