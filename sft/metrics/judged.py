"""Rows judged one by one: counts and errors of each, as arrays, from which every score and interval follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import fields as columns
from typing import TYPE_CHECKING

from sft.metrics import fields, spotting
from sft.metrics.chart import rms_f1
from sft.metrics.formula import formula_distance
from sft.metrics.table import teds
from sft.metrics.text import PLAIN, Normalisation, distance, distances, normalise_all
from sft.notation import documents, latex, otsl, pipes
from sft.notation import spotting as places

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
        exact, empty, runaway: 1 for a row that is exactly right (JSON: with the same fields), has no answer, or one
            that is far too long.
        cut: 1 for an answer that was cut off because it reached the longest allowed.
        unreadable: 1 for a truth that its task's measure cannot read.
        error: the row's error by its task's own measure, 0 (right) to 1: the normalised edit distance for text,
            1 - TEDS for a table, the distance of tokens for a formula, 1 - RMS-F1 for a chart, 1-N.E.D. of spotting,
            1 - F1 of the fields for JSON; 1 where the truth is unreadable.
        structure: TEDS-S of a table; NaN for other tasks.
        boxes: F1 of the places of spotting; NaN for other tasks.
        document: numbers the document that the row belongs to.
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
    boxes: Floats
    document: Floats

    def __len__(self) -> int:
        return len(self.characters)

    def at(self, rows: Sequence[int]) -> Judged:
        """The rows of these numbers."""
        import numpy as np

        index = np.asarray(rows, np.int64)
        return Judged(**{field.name: getattr(self, field.name)[index] for field in columns(self)})

    @property
    def ned(self) -> Floats:
        """Normalised edit distance of each row."""
        import numpy as np

        ned: Floats = self.edits / np.maximum(self.longest, 1)
        return ned


def judge(
    truths: Sequence[str],
    answers: Sequence[str],
    measures: Sequence[str] = (),
    how: Normalisation = PLAIN,
    *,
    cut: Sequence[bool] = (),
    documents: Sequence[str] = (),
    words: bool = True,
) -> Judged:
    """Judge n answers.

    Args:
        measures: text, table, formula, chart, spotting or json, for each row; empty: all are text.
        cut: was the answer cut off? for each row; empty: none was.
        documents: the document that each row belongs to; empty: each is one of its own.
        words: count words too (WER); without, they are 0.
    """
    import numpy as np

    wanted, found = normalise_all(truths, how), normalise_all(answers, how)
    edits = distances(wanted, found).astype(np.float64)
    characters, lengths = (np.fromiter(map(len, t), np.float64, len(t)) for t in (wanted, found))
    longest = np.maximum(characters, lengths)
    error = edits / np.maximum(longest, 1)
    exact, unreadable = (edits == 0).astype(np.float64), np.zeros(len(wanted))
    structure, boxes = np.full((2, len(wanted)), np.nan)
    for number, measure in enumerate(measures):
        pair = truths[number], answers[number]
        if measure in MEASURES:
            error[number] = MEASURES[measure](*pair)
            unreadable[number] = measure in UNREADABLE and bool(UNREADABLE[measure](truths[number]))
        if measure == "table":
            structure[number] = teds(*pair, structure_only=True)
        elif measure == "spotting":
            boxes[number] = spotting.boxes_f1(*pair)
        elif measure == "json":
            exact[number] = fields.same(*pair)
    counts = _words(wanted, found, edits) if words else (np.zeros(len(wanted)), np.zeros(len(wanted)))
    factor, more = RUNAWAY
    return Judged(
        characters=characters,
        words=counts[0],
        edits=edits,
        word_edits=counts[1],
        longest=longest,
        exact=exact,
        empty=(lengths == 0).astype(np.float64),
        runaway=(lengths > factor * characters + more).astype(np.float64),
        cut=np.array(cut, np.float64) if len(cut) else np.zeros(len(wanted)),
        unreadable=unreadable,
        error=error,
        structure=structure,
        boxes=boxes,
        document=_numbers(documents) if len(documents) else np.arange(len(wanted), dtype=np.float64),
    )


def _numbers(names: Sequence[str]) -> Floats:
    """Each name's number, in the order in which they come."""
    import numpy as np

    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.float64)


# How rows are judged: the error of (truth, answer), 0 to 1. What is not here, by normalised edit distance.
Measure = Callable[[str, str], float]
MEASURES: dict[str, Measure] = {
    "table": lambda truth, answer: 1 - teds(truth, answer),
    "formula": formula_distance,
    "chart": lambda truth, answer: 1 - rms_f1(truth, answer),
    "spotting": spotting.error,
    "json": fields.error,
}
# Why the measure cannot read a truth (empty where it can): the dataset's rules ask the same.
UNREADABLE: dict[str, Callable[[str], str]] = {
    "table": otsl.unreadable,
    "formula": latex.unreadable,
    "chart": pipes.unreadable,
    "spotting": places.unreadable,
    "json": documents.unreadable,
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
