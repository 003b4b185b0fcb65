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
    """

    form: rows.Format
    bounds: Bounds
    limits: Limits
    images: bool = True
    off: frozenset[str] = frozenset()
    shown: int = 5
    documents: bool = False
    tasks: Known = field(default_factory=lambda: BUILT_IN)


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
