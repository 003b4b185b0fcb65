"""The fit finds the law that made the points, knows how sure it is, and says where there is none."""

from __future__ import annotations

import random

import pytest

from runs.power_law import Measured, fit

ROWS = (1000, 2000, 4000, 8000)


def points(law: object, noise: float, seed: int) -> list[Measured]:
    rng, found = random.Random(seed), []
    for rows in ROWS:
        true = law(rows)  # type: ignore[operator]
        seen = true * (1 + rng.gauss(0, noise))
        found.append(Measured(rows, seen, seen - 1.96 * noise * true, seen + 1.96 * noise * true))
    return found


def test_the_law_behind_the_points_is_found_and_what_more_rows_give() -> None:
    found = fit([Measured(rows, 3 * rows**-0.4, 3 * rows**-0.4 * 0.95, 3 * rows**-0.4 * 1.05) for rows in ROWS])
    assert found.factor == pytest.approx(3)
    assert found.exponent == pytest.approx(0.4)
    assert found.holds
    assert found.doubling[0] == pytest.approx(1 - 2**-0.4)
    twice = found.at(16_000)
    assert twice.error == pytest.approx(3 * 16_000**-0.4)
    assert twice.low < twice.error < twice.high
    assert found.at(32_000).high / found.at(32_000).low > twice.high / twice.low, "further off it is less sure"


def test_its_interval_has_the_true_exponent_as_often_as_it_says_and_the_test_holds_as_often() -> None:
    fits = [fit(points(lambda rows: 2 * rows**-0.3, 0.05, seed)) for seed in range(100)]
    assert 88 <= sum(found.low <= 0.3 <= found.high for found in fits) <= 100
    assert 88 <= sum(found.holds for found in fits) <= 100


def test_what_is_no_power_law_and_what_gains_nothing_is_told_apart() -> None:
    plateau = fit(points(lambda rows: 0.05 if rows > 1500 else 0.4, 0.02, 1))
    assert not plateau.holds
    flat = fit(points(lambda rows: 0.1, 0.05, 1))
    assert flat.low <= 0 <= flat.high, "no gain can be seen"
    with pytest.raises(ValueError, match="three points"):
        fit([Measured(1, 0.1, 0, 1), Measured(2, 0.1, 0, 1)])
