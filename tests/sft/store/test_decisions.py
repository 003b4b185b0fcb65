"""Rows that have decided often decide by chance: how often, and what is said of it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from sft.report import remarks
from sft.store import champions, decisions, records


def keys(first: int, last: int) -> list[str]:
    return [records.fingerprint(number) for number in range(first, last)]


@pytest.mark.parametrize("size", [10, 64, 300, 3000])
@pytest.mark.parametrize("shared", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_the_estimate_is_near_the_share_of_rows_in_both(size: int, shared: float) -> None:
    first = round(size * (1 - shared))
    one, other = keys(0, size), keys(first, first + size)
    true = len(set(one) & set(other)) / len(set(one) | set(other))
    estimate = decisions.resemblance(decisions.sketch(one), decisions.sketch(other))
    assert abs(estimate - true) < (1e-9 if 2 * size <= decisions.SIZE else 0.2)


def decide(outputs: Path, identity: str, rows: list[str]) -> None:
    facts = {"identity": identity, "rows": decisions.sketch(rows)}
    records.write_json(outputs / champions.place("night") / "decisions" / f"{identity}.json", facts)


def test_decisions_by_mostly_the_same_rows_are_counted_and_others_are_not(tmp_path: Path) -> None:
    rows = keys(0, 500)
    for number in range(6):
        decide(tmp_path, f"t{number}", [*rows, *keys(1000, 1000 + 20 * number)])  # the set grows
    decide(tmp_path, "other", keys(5000, 5500))
    decide(tmp_path, "old", [])
    random.Random(1).shuffle(rows)
    now = decisions.sketch(rows)
    assert decisions.judged_before(tmp_path, "night", "new", now) == 6
    assert decisions.judged_before(tmp_path, "night", "t3", now) == 5, "its own decision is none before it"
    assert decisions.judged_before(tmp_path, "day", "new", now) == 0


def test_what_is_said_is_the_chance_and_a_bound_that_helps() -> None:
    assert decisions.doubt(3, 0.95) == ""
    said = decisions.doubt(4, 0.95)
    assert "have judged 5 trainings" in said
    assert "a chance of 23 %" in said
    assert "promote.confidence=0.9900" in said
    assert decisions.doubt(19, 0.99) == "", "whoever asks for more may ask more often"
    every: Any = {"empty": 0, "cut": 0, "unreadable": 0}
    found: Any = {"models": ["tuned"], "tuned": {"all": every}, "rows": 1, "judged_before": 19}
    (told,) = remarks(found)
    assert "64 %" in told
