"""Dear things are done no more often than their share of the time allows, whatever they take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sft.store.sparing import Sparingly


@given(
    st.lists(st.floats(0.0, 30.0), min_size=1, max_size=20),
    st.lists(st.floats(0.001, 5.0), min_size=300, max_size=300),
    st.floats(0.01, 0.5),
)
def test_the_share_is_kept_and_the_wait_counts_from_the_end(
    takes: list[float], between: list[float], share: float
) -> None:
    now = [0.0]
    spent: list[float] = []
    ends: list[float] = []

    def dear() -> None:
        spent.append(takes[len(spent) % len(takes)])
        now[0] += spent[-1]

    act = Sparingly(dear, share=share, least=1.0, clock=lambda: now[0])
    for pause in between:
        now[0] += pause
        began = now[0]
        if act():
            if ends:
                assert began - ends[-1] >= max(1.0, spent[-2] * (1 - share) / share) - 1e-6
            ends.append(now[0])
    if len(spent) > 1:
        assert sum(spent[:-1]) <= share * ends[-1] + 1e-6
