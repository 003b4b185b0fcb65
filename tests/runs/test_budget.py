"""Bounds of cost, and what counts towards them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

import tasks.train as training
from compute.local import LocalCompute
from runs.budget import Budget
from sft.config import load
from sft.errors import BudgetExceeded, ConfigError, JobDied
from tests.support.runs import short_training

GPU = [
    "dataset.train=a.jsonl",
    "dataset.held_out=b.jsonl",
    "budget.prices={A100-80GB: 2.5, H100: 4}",
    "budget.max_cost=5",
    "budget.max_cost_per_month=20",
]


def test_a_run_and_a_month_have_bounds() -> None:
    config = load("full", GPU).config
    budget = Budget.of(config, 6.0)
    assert (budget.hourly, budget.spent, budget.cost(7200)) == (2.5, 6.0, 5.0)
    budget.check(7200)
    with pytest.raises(BudgetExceeded, match=r"budget.max_cost: .*5\.01 of 5 USD"):
        budget.check(7215)
    with pytest.raises(BudgetExceeded, match="max_cost_per_month"):
        Budget.of(config, 16.0).check(7000)


@pytest.mark.usefixtures("prefect_server")
def test_the_bound_of_a_run_counts_its_calls_that_died_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call dies after 0.6 hours, with a checkpoint more: the second one goes beyond an hour."""
    heard: list[int] = []

    def die(*args: Any, **options: Any) -> None:
        heard.append(len(heard))
        args[4]({"event": "checkpoint", "step": 10 * len(heard)})
        raise JobDied("the machine was taken away")

    compute, budget = LocalCompute(home / "state"), Budget.of(load("smoke", ["budget.max_hours=1"]).config)
    args = short_training(compute)
    monkeypatch.setattr(training, "started", lambda compute, key: time.time() - 0.6 * 3600)
    monkeypatch.setattr(training, "run_job", die)
    monkeypatch.setattr(training, "CHECKED", 0.0)
    with pytest.raises(BudgetExceeded, match=r"1\.2 h of 1 h"):
        flow(name="bounded")(lambda: training.train(args, compute, budget, restarts=2))()
    assert heard == [0, 1]


def test_the_dearest_of_several_cards_counts() -> None:
    assert Budget.of(load("full", [*GPU, "modal.gpu=A100-80GB,H100"]).config).hourly == 4


def test_a_card_that_may_not_be_upgraded_costs_what_the_card_costs() -> None:
    assert Budget.of(load("full", [*GPU, "modal.gpu=H100!"]).config).hourly == 4


def test_a_bound_on_cost_needs_a_price() -> None:
    with pytest.raises(ConfigError, match=r"budget.prices of A100-80GB"):
        load("full", ["dataset.train=a", "dataset.held_out=b", "budget.max_cost=5"])
