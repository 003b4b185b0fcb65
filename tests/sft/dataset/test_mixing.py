"""Which rows of further sets stand in a training set, how often and where."""

from __future__ import annotations

import pytest

from sft.dataset.mixing import counts, key, times, woven
from sft.dataset.packing import Amount, packs
from sft.dataset.rows import Sample


@pytest.mark.parametrize("shares", [{"a": 0.2}, {"a": 0.1, "b": 0.3}, {"a": 0.9}, {}])
def test_each_set_has_its_share_of_all_rows(shares: dict[str, float]) -> None:
    found = counts(8000, shares)
    total = 8000 + sum(found.values())
    for name, share in shares.items():
        assert found[name] / total == pytest.approx(share, abs=1e-3)


def test_rows_are_taken_equally_often_and_a_grown_set_keeps_most_of_them() -> None:
    samples = [Sample(((f"{n}.png", 0),), (("OCR:", str(n)),)) for n in range(300)]
    keys = [key(sample) for sample in samples]
    assert sorted(set(times(keys, 700))) == [2, 3]
    assert sum(times(keys, 700)) == 700
    few = times(keys, 100)
    assert (sum(few), max(few)) == (100, 1)
    new = [key(Sample(((f"new{n}.png", 0),), (("OCR:", str(n)),))) for n in range(30)]
    grown = [*keys[150:], *new, *keys[:150]]
    taken = [{k for k, often in zip(of, times(of, 100)) if often} for of in (keys, grown)]
    assert len(taken[0] & taken[1]) > 80
    assert times([], 5) == []


def test_they_stand_evenly_among_the_others() -> None:
    def named(letter: str, count: int) -> list[str]:
        return [f"{letter}{n}" for n in range(count)]

    found = list(woven(iter(named("m", 90)), 90, [(iter(named("a", 30)), 30), (iter(named("b", 9)), 9)]))
    assert len(found) == 129
    assert [row for row in found if row[0] == "m"] == named("m", 90), "in their order"
    for start in range(0, 120, 40):
        part = "".join(row[0] for row in found[start : start + 40])
        assert (9 <= part.count("a") <= 10, 2 <= part.count("b") <= 4) == (True, True)
    assert list(woven(iter(named("m", 3)), 3, [])) == named("m", 3)


def test_steps_follow_from_all_rows() -> None:
    main, more = Amount.of_pairs(80, [(100, 80)]), Amount.of_pairs(10, [(50, 10)])
    both = main.and_(more.part(2.0))
    assert (both.rows, both.tokens) == (100, {100: 80, 50: 20})
    assert packs(both, 10, 10_000) == 10
    assert main.and_(Amount(20)).tokens == {}, "where one was not counted, packs are taken for full"
