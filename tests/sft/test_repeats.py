"""Repeated keys are found without holding them all."""

from __future__ import annotations

import random
from array import array
from contextlib import closing

import pytest

from sft.dataset import repeats
from sft.dataset.repeats import Spool, repeated, shared


def spooled(keys: list[int], offset: int = 0) -> Spool:
    spool = Spool()
    for start in range(0, len(keys), 7):
        part = keys[start : start + 7]
        digests = b"".join(key.to_bytes(8, "little") + b"tail" for key in part)
        spool.add(digests, 12, array("Q", range(1, len(part) + 1)), offset + start)
    return spool


@pytest.mark.parametrize("at_once", [1 << 20, 50, 3])
def test_counts_and_first_lines_are_those_of_a_set(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(repeats, "AT_ONCE", at_once)
    draw = random.Random(at_once)
    keys, others = ([draw.randrange(400) << 32 | 5 for _ in range(500)] for _ in range(2))
    seen: set[int] = set()
    again = [line for line, key in enumerate(keys, 1) if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    both = [line for line, key in enumerate(keys, 1) if key in set(others)]
    with closing(spooled(keys)) as spool, closing(spooled(others)) as other:
        assert repeated(spool, 4) == (len(again), again[:4])
        assert shared(spool, other, 4) == (len(both), both[:4])


def test_an_empty_spool_has_no_repeats() -> None:
    with closing(Spool()) as empty, closing(spooled([1, 2])) as other:
        assert repeated(empty, 5) == (0, [])
        assert shared(other, empty, 5) == (0, [])
