"""Rows judged one by one: counts and errors of each, as arrays, from which every score and interval follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from sft.metrics.chart import rms_f1
from sft.metrics.formula import formula_distance
from sft.metrics.table import teds
from sft.metrics.text import PLAIN, Normalisation, distance, distances, normalise_all
from sft.notation import latex, otsl, pipes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RUNAWAY = (3, 20)  # an answer longer than 3 × the truth + 20 characters has run away


@dataclass(frozen=True)
class Judged:
    """n rows, one array of shape (n,) for each count.

    Attributes:
        characters: of the truth. words: of the truth, between white space.
        edits, word_edits: Levenshtein distances in characters and words.
        longest: characters of the longer one of truth and answer.
        exact, empty, runaway: 1 for a row that is exactly right, has no answer, or one that is far too long.
        cut: 1 for an answer that was cut off because it reached the longest allowed.
        unreadable: 1 for a truth that its task's measure cannot read.
        error: the row's error by its task's own measure, 0 (right) to 1: the normalised edit distance for text,
            1 - TEDS for a table, the distance of tokens for a formula, 1 - RMS-F1 for a chart; 1 where the truth is
            unreadable.
        structure: TEDS-S of a table; NaN for other tasks.
    """

    characters: Floats
    words: Floats
    edits: Floats
    word_edits: Floats
    longest: Floats
    exact: Floats
    empty: Floats
    runaway: Floats
    cut: Floats
    unreadable: Floats
    error: Floats
    structure: Floats

    def __len__(self) -> int:
        return len(self.characters)

    def at(self, rows: Sequence[int]) -> Judged:
        """The rows of these numbers."""
        import numpy as np

        index = np.asarray(rows, np.int64)
        return Judged(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @property
    def ned(self) -> Floats:
        """Normalised edit distance of each row."""
        import numpy as np

        ned: Floats = self.edits / np.maximum(self.longest, 1)
        return ned


def judge(
    truths: Sequence[str],
    answers: Sequence[str],
    tasks: Sequence[str] = (),
    how: Normalisation = PLAIN,
    *,
    cut: Sequence[bool] = (),
    words: bool = True,
) -> Judged:
    """Judge n answers.

    Args:
        tasks: ocr, table, formula or chart, for each row; empty: all are ocr.
        cut: was the answer cut off? for each row; empty: none was.
        words: count words too (WER); without, they are 0.
    """
    import numpy as np

    wanted, found = normalise_all(truths, how), normalise_all(answers, how)
    edits = distances(wanted, found).astype(np.float64)
    characters, lengths = (np.fromiter(map(len, t), np.float64, len(t)) for t in (wanted, found))
    longest = np.maximum(characters, lengths)
    error = edits / np.maximum(longest, 1)
    structure, unreadable = np.full(len(wanted), np.nan), np.zeros(len(wanted))
    for number, task in enumerate(tasks):
        if task in MEASURES:
            error[number] = MEASURES[task](truths[number], answers[number])
            unreadable[number] = task in UNREADABLE and bool(UNREADABLE[task](truths[number]))
        if task == "table":
            structure[number] = teds(truths[number], answers[number], structure_only=True)
    counts = _words(wanted, found, edits) if words else (np.zeros(len(wanted)), np.zeros(len(wanted)))
    factor, more = RUNAWAY
    return Judged(
        characters=characters,
        words=counts[0],
        edits=edits,
        word_edits=counts[1],
        longest=longest,
        exact=(edits == 0).astype(np.float64),
        empty=(lengths == 0).astype(np.float64),
        runaway=(lengths > factor * characters + more).astype(np.float64),
        cut=np.array(cut, np.float64) if len(cut) else np.zeros(len(wanted)),
        unreadable=unreadable,
        error=error,
        structure=structure,
    )


# How a task's rows are judged: the error of (truth, answer), 0 to 1. What is not here, by normalised edit distance.
Measure = Callable[[str, str], float]
MEASURES: dict[str, Measure] = {
    "table": lambda truth, answer: 1 - teds(truth, answer),
    "formula": formula_distance,
    "chart": lambda truth, answer: 1 - rms_f1(truth, answer),
}
# Why the measure cannot read a truth (empty where it can): the dataset's rules ask the same.
UNREADABLE: dict[str, Callable[[str], str]] = {
    "table": otsl.unreadable,
    "formula": latex.unreadable,
    "chart": pipes.unreadable,
}


def _words(wanted: Sequence[str], found: Sequence[str], edits: Floats) -> tuple[Floats, Floats]:
    """(words of each truth, word edits). Words become single code points, so that the fast distance serves."""
    import numpy as np

    words, word_edits = np.zeros(len(wanted)), np.zeros(len(wanted))
    for number, (truth, answer) in enumerate(zip(wanted, found)):
        truth_words = truth.split()
        words[number] = len(truth_words)
        if edits[number]:
            answer_words = answer.split()
            codes = {word: chr(code) for code, word in enumerate(dict.fromkeys(truth_words + answer_words))}
            pair = ("".join(map(codes.__getitem__, side)) for side in (truth_words, answer_words))
            word_edits[number] = distance(*pair)
    return words, word_edits
