"""Repeated keys are found without holding them all."""

from __future__ import annotations

import random
from array import array
from contextlib import closing

import pytest

from sft.dataset import repeats
from sft.dataset.repeats import Spool, ordered, repeated, shared


def spooled(keys: list[int], *, runs: bool = True) -> Spool:
    spool = Spool()
    for start in range(0, len(keys), 7):
        part = keys[start : start + 7]
        digests = b"".join(key.to_bytes(8, "little") + b"tail" for key in part)
        run = ordered(digests, 12) if runs else bytearray()
        spool.add(digests, 12, array("Q", range(1, len(part) + 1)), start, run)
    return spool


@pytest.mark.parametrize("runs", [True, False], ids=["with runs", "without"])
@pytest.mark.parametrize("at_once", [1 << 20, 50, 3])
def test_counts_and_first_lines_are_those_of_a_set(monkeypatch: pytest.MonkeyPatch, at_once: int, runs: bool) -> None:
    monkeypatch.setattr(repeats, "AT_ONCE", at_once)
    draw = random.Random(at_once)
    keys, others = ([draw.randrange(400) << 32 | 5 for _ in range(500)] for _ in range(2))
    seen: set[int] = set()
    again = [line for line, key in enumerate(keys, 1) if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    both = [line for line, key in enumerate(keys, 1) if key in set(others)]
    with closing(spooled(keys, runs=runs)) as spool, closing(spooled(others)) as other:
        assert repeated(spool, 4) == (len(again), again[:4])
        assert shared(spool, other, 4) == (len(both), both[:4])


@pytest.mark.parametrize("at_once", [1 << 20, 50])
def test_one_repeat_among_many_is_found_wherever_it_is(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(repeats, "AT_ONCE", at_once)
    keys = random.Random(1).sample(range(1 << 60), 300)
    with closing(spooled(keys)) as spool:
        assert repeated(spool, 4) == (0, [])
    for first, second in ((0, 299), (3, 4), (120, 200)):
        twice = [*keys[:second], keys[first], *keys[second + 1 :]]
        with closing(spooled(twice)) as spool:
            assert repeated(spool, 4) == (1, [second + 1])


def test_an_empty_spool_has_no_repeats() -> None:
    with closing(Spool()) as empty, closing(spooled([1, 2])) as other:
        assert repeated(empty, 5) == (0, [])
        assert shared(other, empty, 5) == (0, [])
