"""What each step will cost, by what the calls of earlier runs took; and that a run's cost is all its calls."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from compute.local import LocalCompute
from compute.records import put_json
from runs import calls
from runs.account import settled
from runs.ledger import Entry, Spent
from runs.step_costs import StepCosts, in_words
from sft.config import load
from sft.errors import JobDied
from sft.store import records
from sft.store.usage import FOLDER, Usage

CONFIG = load("smoke", ["budget.prices={cpu: 3.6}"]).config  # 0.001 a second


def keep(compute: LocalCompute, name: str, **spent: Spent) -> None:
    facts = {"engine": "paddleformers", "gpu": "cpu", "compute": "local", "trained": True, "steps": 100, "rows": 50}
    metrics: dict[str, Any] = {"base": {}, "tuned": {}}
    entry = Entry(id=name, name="x", started=time.time(), training_seconds=200, spent=spent, metrics=metrics, **facts)
    put_json(compute, "outputs", f"ledger/{name}.json", entry.model_dump())


def test_each_step_by_the_dearest_run_like_it(home: Path) -> None:
    compute = LocalCompute(home / "state")
    nothing = StepCosts(CONFIG, compute)
    assert in_words(nothing, "USD") == "nothing is left to pay for"
    assert (nothing.train(100).told("USD"), nothing.check().told("USD")) == ("unknown", "unknown")
    assert in_words(nothing, "USD") == "no run in the ledger tells of it"
    train, reading = Spent(calls=1, seconds=200), Spent(calls=1, seconds=100)
    keep(compute, "20260101-000000-a", train=train, evaluate=reading, read_dev=Spent(calls=4, seconds=20))
    keep(compute, "20260101-000001-b", train=train, evaluate=Spent(calls=1, seconds=10))  # the base's answers were kept
    costs = StepCosts(CONFIG, compute)
    assert costs.train(1000).told("USD") == "0.56 h, 2.00 USD"
    assert costs.read(3, 300).seconds == pytest.approx(900), "a second for a row and model"
    assert costs.choose(10).seconds == pytest.approx(50), "five seconds for a checkpoint"
    assert costs.check().seconds is None
    assert costs.wait(5).seconds == 0, "nothing waits here"
    assert costs.total().cost == pytest.approx(2.95)
    told = in_words(costs, "USD")
    assert told.startswith("in all at most about 0.82 h, 2.95 USD (budget.prices)")
    assert told.endswith("without check-export, which no run in the ledger tells of")


def test_a_run_costs_what_all_the_calls_cost_that_it_followed_also_where_it_fails(home: Path) -> None:
    compute, began = LocalCompute(home / "state"), time.time()
    entry = Entry(id="a", name="x", started=began)

    def fail() -> None:
        with settled(entry, CONFIG, compute):
            for number, (job, seconds) in enumerate([("train", 100), ("evaluate", 20), ("evaluate", 30), ("not", 500)]):
                call = f"c{number}"
                usage = Usage(call_id=call, job=job, identity="i", gpu="cpu", began=began, seen=began + seconds)
                records.write_json(compute.volumes.outputs / FOLDER / usage.file, usage.model_dump())
                if job != "not":  # another run's
                    calls.attached(compute, f"key{number}", call)
            raise JobDied("the machine was taken away")

    with pytest.raises(JobDied):
        fail()
    assert {job: spent.calls for job, spent in entry.spent.items()} == {"train": 1, "evaluate": 2}
    assert [spent.seconds for spent in entry.spent.values()] == pytest.approx([100, 50])
    assert entry.cost == pytest.approx(0.15)
    assert entry.priced_by == "budget.prices"
