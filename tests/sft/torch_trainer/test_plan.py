"""The plan of forward passes: who comes when is a matter of lengths, seed and settings alone."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft.torch_trainer.passes import plan
from sft.torch_trainer.rows import Unusable


@given(
    lengths=st.lists(st.integers(1, 120), min_size=1, max_size=40),
    budget=st.integers(60, 200),
    rows=st.integers(1, 8),
    seed=st.integers(1, 99),
)
def test_every_row_comes_once_before_any_comes_again(lengths: list[int], budget: int, rows: int, seed: int) -> None:
    fitting = {number for number, length in enumerate(lengths) if length <= budget}
    if not fitting:
        with pytest.raises(Unusable, match="every row is longer"):
            plan(lengths, 3, budget=budget, rows=rows, seed=seed)
        return
    passes = plan(lengths, 3 * len(lengths), budget=budget, rows=rows, seed=seed)
    assert len(passes) == 3 * len(lengths)
    for one in passes:
        assert 1 <= len(one) <= rows
        assert sum(lengths[number] for number in one) <= budget
    order = [number for one in passes for number in one]
    for start in range(0, len(order) - len(fitting) + 1, len(fitting)):
        assert set(order[start : start + len(fitting)]) == fitting
    for one, following in itertools.pairwise(passes):
        full = len(one) == rows or sum(lengths[n] for n in one) + lengths[following[0]] > budget
        assert full, "a pass is closed only when the next row does not fit"
    assert plan(lengths, 2, budget=budget, rows=rows, seed=seed) == passes[:2], "a shorter training begins the same"


def test_the_seed_and_the_turn_change_the_order() -> None:
    first, other = (plan([1] * 30, 2, budget=30, rows=30, seed=seed) for seed in (1, 2))
    assert Counter(first[0]) == Counter(first[1]) == Counter(other[0])
    assert first[0] != first[1]
    assert first[0] != other[0]
