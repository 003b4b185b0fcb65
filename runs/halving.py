"""Successive halving: all trials for a while, the better half for twice as long, and so on (Jamieson & Talwalkar, 2016,
"Non-stochastic best arm identification and hyperparameter optimization"). Needs no Prefect.

A trial keeps the schedule of its whole length, and goes on from its checkpoint: no step is trained twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def rounds(trials: int) -> int:
    """How often the number of trials is halved until one is left."""
    return math.ceil(math.log2(trials))


def rungs(steps: int, trials: int, save_steps: int) -> list[int]:
    """The steps at which trials are compared, the last one the end; all but that are multiples of ``save_steps``.

    Example: ``rungs(800, 4, 100)`` is ``[200, 400, 800]``.
    """
    wanted = [steps / 2**left for left in range(rounds(trials), 0, -1)]
    found = sorted({max(1, round(step / save_steps)) * save_steps for step in wanted})
    return [*(step for step in found if step < steps), steps]


def saved_every(steps: int, trials: int, save_steps: int) -> int:
    """Steps between checkpoints, at most ``save_steps``, so that there is one at the first rung.

    Example: ``saved_every(926, 4, 200)`` is 115: the first rung is at step 230, a quarter.
    """
    first: int = steps // 2 ** rounds(trials)
    return max(1, first // max(1, math.ceil(first / save_steps)))


def survivors(alive: int) -> int:
    """How many of so many go on."""
    return math.ceil(alive / 2)


def planned(trials: int, at: Sequence[int]) -> int:
    """Steps that are trained in all.

    Example: ``planned(4, [200, 400, 800])`` is 1600, half of what all four would be.
    """
    total, before, alive = 0, 0, trials
    for step in at:
        total += alive * (step - before)
        before, alive = step, survivors(alive)
    return total
