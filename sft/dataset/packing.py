"""How many forward passes a training set is: rows in packs of a bounded length, counted from the tokens of the rows.

ERNIEKit fills a pack with row after row and closes it when the next one would exceed ``max_seq_len`` or when it has
``packing_size`` rows (``MMDataloader`` in ernie/dataset/dist_data_loader.py of PaddlePaddle/ERNIE). The order is
shuffled once a pass (seed 97), so that the number of packs follows from the rows' lengths alone, but for chance: that
is 0.2 % of the packs for 10,000 rows, and shrinks with their number.

Where even the longest rows fit into one pack, ``packing_size`` alone decides and the count is exact. Else it is as
good as the lengths: the image's tokens are exact, the text's are its bytes by a rate that is measured on rows spread
over the file, with the base model's tokenizer (:func:`looked_at`; 3 bytes a token where none is at hand).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sft.dataset import rows
from sft.dataset.coverage import Costs, coverage
from sft.dataset.lines import is_compressed, numbered
from sft.dataset.tokens import Limits

SEED = 97  # ERNIEKit's
SIMULATED = 200_000  # rows at most: more are represented by as many, spread over the lengths
LOOKED = 256  # rows whose texts are counted
LONGEST = 1 << 20  # bytes of such a line
TEXT = 4000  # characters of a text that are counted


@dataclass(frozen=True)
class Amount:
    """What is trained on. ``tokens`` is tokens of a row → rows; empty where nobody has counted them."""

    rows: int
    tokens: Counter[int] = field(default_factory=Counter)

    def as_pairs(self) -> list[tuple[int, int]]:
        """``tokens`` as plain data."""
        return sorted(self.tokens.items())

    def part(self, share: float) -> Amount:
        """What so large a part of it is, about: rows are not counted one by one. Above 1 they are taken repeatedly."""
        if share == 1:
            return self
        tokens = Counter({each: kept for each, count in self.tokens.items() if (kept := round(count * share))})
        return Amount(max(1, round(self.rows * share)), tokens)

    def and_(self, other: Amount) -> Amount:
        """Both; where one was not counted, neither is."""
        counted = self.tokens and other.tokens
        return Amount(self.rows + other.rows, self.tokens + other.tokens if counted else Counter())

    @classmethod
    def of_pairs(cls, rows: int, pairs: Iterable[tuple[int, int]]) -> Amount:
        """From plain data."""
        return cls(rows, Counter(dict(pairs)))


def packs(amount: Amount, size: int, max_seq_len: int) -> float:
    """Packs of one pass over the rows; the last one, which the next pass fills up, is a fraction.

    Rows longer than ``max_seq_len`` are in none: the trainer leaves them out.

    Args:
        size: rows of a pack at most.
        max_seq_len: tokens of a pack at most.
    """
    lengths = {tokens: count for tokens, count in sorted(amount.tokens.items()) if tokens <= max_seq_len}
    total = sum(lengths.values())
    if not lengths or max(lengths) * size <= max_seq_len:
        return (total or amount.rows) / size
    order = _shuffled(lengths, min(total, SIMULATED))
    return _next_fit(order, size, max_seq_len) * total / len(order)


def _shuffled(lengths: dict[int, int], count: int) -> list[int]:
    import numpy as np

    ends = np.cumsum(list(lengths.values()))
    ranks = (np.arange(count) + 0.5) * (ends[-1] / count)
    order = np.array(list(lengths))[np.searchsorted(ends, ranks, side="right")]
    np.random.RandomState(SEED).shuffle(order)
    return [int(tokens) for tokens in order]


def _next_fit(order: list[int], size: int, max_seq_len: int) -> float:
    closed, held, used = 0, 0, 0
    for tokens in order:
        if held == size or used + tokens > max_seq_len:
            closed, held, used = closed + 1, 0, 0
        held, used = held + 1, used + tokens
    return closed + max(held / size, used / max_seq_len)


class Looked(NamedTuple):
    """What a few rows say of a file: bytes of UTF-8 that are 100 tokens, and what each script of the answers costs."""

    text_bytes: int
    scripts: Costs


def looked_at(path: Path, form: rows.Format, limits: Limits) -> Looked:
    """By the model's tokenizer; ``limits.text_bytes`` and no costs without one.

    The same file and tokenizer give the same numbers on every machine.
    """
    if not limits.exact:
        return Looked(limits.text_bytes, {})
    texts: list[str] = []
    answers: dict[bytes, list[str]] = {}  # of a short file the same rows are met again
    for line in itertools.islice(_spread(path), LOOKED):
        sample = rows.decode(line, form)
        texts += [text[:TEXT] for turn in sample.turns for text in turn] if sample else []
        answers[line] = [answer[:TEXT] for _, answer in sample.turns] if sample else []
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    tokens = sum(map(limits.text_tokens, texts))
    rate = max(1, round(100 * size / tokens)) if tokens else limits.text_bytes
    return Looked(rate, coverage(limits.tokenizer).costs(itertools.chain(*answers.values())))


def _spread(path: Path) -> Iterator[bytes]:
    """Lines from evenly spaced places; the first ones of a compressed file."""
    if is_compressed(path):
        yield from (line for _, line in numbered(path))
        return
    end = path.stat().st_size
    with path.open("rb") as file:
        for place in range(0, end, max(1, end // LOOKED)):
            file.seek(place)
            if place:
                file.readline(LONGEST)
            yield file.readline(LONGEST)
