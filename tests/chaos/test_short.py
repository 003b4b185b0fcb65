"""A seeded round; ``make chaos N=200`` plays many, against the stand-in for Modal too."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.settings import get_current_settings

from tests.chaos.rounds import play, summary, trained


@pytest.mark.usefixtures("prefect_server")
def test_a_disturbed_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    outcome = play(14, tmp_path, str(get_current_settings().api.url), "local")
    assert outcome.faults[0] == "tear_checkpoint"
    assert not outcome.problems, summary([outcome])


def test_the_log_tells_from_which_step_was_trained() -> None:
    lines = ['@sft {"event": "start"}', "noise", '@sft {"event": "resume", "checkpoint": "checkpoint-6"}']
    steps = ['@sft {"event": "progress", "step": 7}', '@sft {"event": "progress", "step": 8}']
    assert trained(["\n".join(lines + steps), "\n".join(lines[:1] + steps)]) == [(7, 6), (7, 0)]
