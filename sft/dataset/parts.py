"""How a range of a dataset file is looked at, and what it came to."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

from sft.dataset import rows
from sft.dataset.facts import Facts
from sft.dataset.images import Bounds
from sft.dataset.tasks import BUILT_IN, Known
from sft.dataset.tokens import Limits


@dataclass(frozen=True)
class Options:
    """How rows are looked at.

    Attributes:
        images: look at the image files; without it only the texts are checked, many times faster.
        off: rules that are not asked for.
        shown: findings kept for each rule.
        documents: to which document does each row belong?
        tasks: those that there are, by their prompts.
        judges: the share of the documents whose rows models are judged or chosen by: 1 of a held-out set.
    """

    form: rows.Format
    bounds: Bounds
    limits: Limits
    images: bool = True
    off: frozenset[str] = frozenset()
    shown: int = 5
    documents: bool = False
    tasks: Known = field(default_factory=lambda: BUILT_IN)
    judges: float = 0.0


@dataclass
class Part(Facts):
    """What a range came to; line numbers count from 1 at its start.

    Attributes:
        lines: lines in the range, blank ones included.
        digests: DIGEST bytes (LINE_DIGEST without images) for each good row, in order; ``places`` has its line.
        ordered: the keys of the digests (see :func:`sft.dataset.repeats.keys_of`) in ascending order.
        questions: KEY bytes for each good row: its images' content and its prompts; empty where content is not hashed.
        documents: KEY bytes for each good row: the document of its first image.
        pictures: PICTURE bytes for each image; ``picture_places`` has its line.
    """

    lines: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    shown: list[tuple[str, int, str]] = field(default_factory=list)
    digests: bytearray = field(default_factory=bytearray)
    ordered: bytearray = field(default_factory=bytearray)
    places: array[int] = field(default_factory=lambda: array("Q"))
    questions: bytearray = field(default_factory=bytearray)
    documents: bytearray = field(default_factory=bytearray)
    pictures: bytearray = field(default_factory=bytearray)
    picture_places: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, rule: str, line: int, value: str, shown: int) -> None:
        """Count a breach, and keep it if it is one of the first."""
        self.counts[rule] += 1
        if self.counts[rule] <= shown:
            self.shown.append((rule, line, value))

    def then(self, other: Part, shown: int) -> None:
        """Append what the range right behind this one came to; of any cuts of a file the same comes out (associative).

        Args:
            shown: findings kept for each rule.
        """
        kept = Counter(rule for rule, _, _ in self.shown)
        for rule, line, value in other.shown:
            if kept[rule] < shown:
                kept[rule] += 1
                self.shown.append((rule, self.lines + line, value))
        self.counts.update(other.counts)
        self.include(other)
        for name in ("digests", "questions", "documents", "pictures"):
            getattr(self, name).extend(getattr(other, name))
        self.places.extend(self.lines + place for place in other.places)
        self.picture_places.extend(self.lines + place for place in other.picture_places)
        self.ordered = _merged(self.ordered, other.ordered)
        self.lines += other.lines


def _merged(first: bytearray, second: bytearray) -> bytearray:
    """Two runs of keys, each in ascending order, as one."""
    import numpy as np

    keys = np.concatenate([np.frombuffer(bytes(run), np.uint64) for run in (first, second)])
    return bytearray(np.sort(keys, kind="stable").tobytes())  # finds the runs
