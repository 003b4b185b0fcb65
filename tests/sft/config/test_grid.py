"""The points of a sweep."""

from __future__ import annotations

import pytest

from sft.config import load
from sft.config.grid import trials
from sft.errors import InputError


def labels(*grid: str) -> list[str]:
    config = load("smoke", ["engine=transformers"]).config
    return [trial.label for trial in trials(config, grid)]


def test_every_combination_is_a_trial_and_keeps_the_other_values() -> None:
    found = trials(load("smoke", ["train.seed=7"]).config, ["train.learning_rate=1e-3, 2e-3", "train.lora.rank=4,8"])
    assert [trial.label for trial in found] == [
        *("learning_rate=1e-3 lora.rank=4", "learning_rate=1e-3 lora.rank=8"),
        *("learning_rate=2e-3 lora.rank=4", "learning_rate=2e-3 lora.rank=8"),
    ]
    trains = [trial.config.train for trial in found]
    assert [(train.learning_rate, train.lora and train.lora.rank) for train in trains] == [
        *((0.001, 4), (0.001, 8)),
        *((0.002, 4), (0.002, 8)),
    ]
    assert {train.seed for train in trains} == {7}


def test_commas_in_brackets_part_no_values() -> None:
    assert labels("train.freeze=[vision],[vision, projector]", "train.seed=1") == [
        "freeze=[vision] seed=1",
        "freeze=[vision, projector] seed=1",
    ]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (["train.learning_rat=1,2"], "a sweep varies hyperparameters (found train.learning_rat)"),
        (["train.save_steps=1,2"], "a sweep varies hyperparameters (found train.save_steps)"),
        (["engine=a,b"], "a sweep varies hyperparameters (found engine)"),
        (["train.seed"], "--grid takes KEY=VALUE,VALUE"),
        (["train.seed=1"], "a sweep compares 2 to 64 trials (found 1)"),
        (["train.seed=" + ",".join(map(str, range(1, 66)))], "a sweep compares 2 to 64 trials (found 65)"),
        (["train.seed=1,2", "train.seed=3,4"], "a key stands twice (found train.seed)"),
        (
            ["train.learning_rate=0.1,7", "train.batch_size=0,4"],
            "--grid: train.learning_rate: Input should be less than",
        ),
        (["train.lora.rnak=4,8"], "train.lora.rnak: no such key"),
    ],
)
def test_what_is_no_grid_is_refused(grid: list[str], said: str) -> None:
    with pytest.raises(InputError) as refused:
        labels(*grid)
    assert said in str(refused.value)
