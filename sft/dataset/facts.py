"""What the good rows of a file, or of a range of it, amount to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields

PARTS = 10_000  # of a row: what is counted of those that are left out now and then


@dataclass
class Facts:
    """Lengths are of answers, in characters; widths and heights in px; a Counter is value → rows.

    ``text_tokens`` are estimated from the bytes, ``image_tokens`` follow from the sizes; ``tokens`` are both.
    ``enlarged`` are rows (in parts, of which a row has 10,000) that the trainer leaves out in a pass, having enlarged
    their images.
    ``odd`` images are those that trainers may see otherwise than a person (see :mod:`sft.dataset.pictures`).
    """

    rows: int = 0
    images: int = 0
    odd: int = 0
    bytes: int = 0
    text_tokens: int = 0
    image_tokens: int = 0
    enlarged: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)

    def include(self, other: Facts) -> None:
        """Add the facts of another range."""
        for name in _NAMES:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, name, mine + theirs)


_NAMES = tuple(field.name for field in fields(Facts))


def spread(counts: Counter[int]) -> list[int]:
    """[smallest, median, largest] of a Counter of numbers; zeros where it is empty."""
    middle, seen = (counts.total() + 1) // 2, 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= middle:
            return [min(counts), value, max(counts)]
    return [0, 0, 0]
