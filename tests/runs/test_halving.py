"""Successive halving's arithmetic."""

from __future__ import annotations

import pytest

from runs.halving import planned, rungs, saved_every, survivors


@pytest.mark.parametrize("trials", range(2, 65))
@pytest.mark.parametrize("steps", [926, 4096, 100_000])
def test_every_rung_halves_the_trials_and_doubles_the_steps(trials: int, steps: int) -> None:
    every = saved_every(steps, trials, 200)
    at = rungs(steps, trials, every)
    assert at[-1] == steps
    assert at == sorted(set(at))
    assert all(step % every == 0 for step in at[:-1]), "there is a checkpoint"
    alive = trials
    for _ in at[:-1]:
        alive = survivors(alive)
    assert alive == 1, "one goes to the end"
    assert planned(trials, at) < 0.85 * trials * steps, "two or three trials save least"
    if trials == 4:
        assert planned(trials, at) <= 0.55 * trials * steps


def test_a_short_training_has_the_rungs_that_it_has_room_for() -> None:
    assert rungs(800, 4, 100) == [200, 400, 800]
    assert (saved_every(8, 4, 200), rungs(8, 4, 2)) == (2, [2, 4, 8])
    assert (saved_every(1, 4, 200), rungs(1, 4, 1)) == (1, [1])
    assert planned(4, [200, 400, 800]) == 1600
    assert planned(3, [2, 4, 8]) == 3 * 2 + 2 * 2 + 1 * 4
