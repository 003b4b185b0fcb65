"""Bounds of cost, and what counts towards them."""

from __future__ import annotations

import time

import pytest

from sft.config import load
from sft.errors import BudgetExceeded, ConfigError
from tasks.budget import Budget
from tasks.ledger import Entry

GPU = [
    "dataset.train=a.jsonl",
    "dataset.held_out=b.jsonl",
    "budget.prices={A100-80GB: 2.5, H100: 4}",
    "budget.max_cost=5",
    "budget.max_cost_per_month=20",
]


def entry(days_ago: float, cost: float | None) -> Entry:
    return Entry(id="x", name="x", started=time.time() - days_ago * 86400, cost=cost)


def test_a_run_and_a_month_have_bounds() -> None:
    config = load("full", GPU).config
    budget = Budget.of(config, [entry(0, 6.0), entry(0, None), entry(45, 100.0)])
    assert (budget.hourly, budget.spent, budget.cost(7200)) == (2.5, 6.0, 5.0)
    budget.check(7200)
    with pytest.raises(BudgetExceeded, match=r"budget.max_cost: .*5\.01 of 5 USD"):
        budget.check(7215)
    with pytest.raises(BudgetExceeded, match="max_cost_per_month"):
        Budget.of(config, [entry(0, 16.0)]).check(7000)


def test_the_dearest_of_several_cards_counts() -> None:
    assert Budget.of(load("full", [*GPU, "modal.gpu=A100-80GB,H100"]).config, []).hourly == 4


def test_a_bound_on_cost_needs_a_price() -> None:
    with pytest.raises(ConfigError, match=r"budget.prices of A100-80GB"):
        load("full", ["dataset.train=a", "dataset.held_out=b", "budget.max_cost=5"])
