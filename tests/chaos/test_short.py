"""Two seeded rounds; ``make chaos N=200`` plays many."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.settings import get_current_settings

from tests.chaos.rounds import play, summary, trained
from tests.compute.test_modal import CAN_UNSHARE


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(("seed", "place"), [(7, "local"), (20, "modal")])
def test_a_disturbed_run_ends_like_an_undisturbed_one(tmp_path: Path, seed: int, place: str) -> None:
    if place == "modal" and not CAN_UNSHARE:
        pytest.skip("unshare --mount is not permitted here: volumes cannot be mounted")
    outcome = play(seed, tmp_path, str(get_current_settings().api.url), place)
    assert outcome.faults
    assert not outcome.problems, summary([outcome])


def test_the_log_tells_from_which_step_was_trained() -> None:
    lines = ['@sft {"event": "start"}', "noise", '@sft {"event": "resume", "checkpoint": "checkpoint-6"}']
    steps = ['@sft {"event": "progress", "step": 7}', '@sft {"event": "progress", "step": 8}']
    assert trained(["\n".join(lines + steps), "\n".join(lines[:1] + steps)]) == [(7, 6), (7, 0)]
