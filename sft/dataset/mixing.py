"""Rows of several sets in one training set: how many of each, which, and in what order. The same ones every time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from xxhash import xxh3_64_intdigest

from sft.dataset.rows import Sample

T = TypeVar("T")


def counts(rows: int, shares: Mapping[str, float]) -> dict[str, int]:
    """How many rows of each further set stand beside ``rows``, so that they have their shares of all.

    Example: ``counts(80, {"a": 0.2})`` is ``{"a": 20}``.
    """
    rest = 1 - sum(shares.values())
    return {name: round(rows * share / rest) for name, share in shares.items()}


def key(sample: Sample) -> int:
    """By what it is decided which rows of a set are taken: a hash of texts and names of images."""
    return xxh3_64_intdigest(repr((sample.turns, sample.images)).encode("utf-8", "surrogatepass"))


def times(keys: Sequence[int], count: int) -> list[int]:
    """How often each row is taken, so that ``count`` are: all equally often, those with the smallest keys once more.

    A set that grows keeps most of what was taken of it.
    """
    if not keys:
        return []
    each, more = divmod(count, len(keys))
    first = set(sorted(range(len(keys)), key=lambda row: keys[row])[:more])
    return [each + (row in first) for row in range(len(keys))]


def woven(rows: Iterator[T], total: int, others: Sequence[tuple[Iterator[T], int]]) -> Iterator[T]:
    """``total`` rows, with those of the others spread evenly among them.

    Args:
        others: (rows, how many they are).
    """
    given = [0] * len(others)
    for number, row in enumerate(rows, 1):
        yield row
        for which, (more, count) in enumerate(others):
            while given[which] < number * count // total:
                given[which] += 1
                yield next(more)
