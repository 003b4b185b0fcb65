"""A sweep that would cost more than the budget is refused before it starts, by what a training like it took."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from compute.local import LocalCompute
from compute.records import put_json
from runs.estimate import UNKNOWN, within_budget
from runs.ledger import Entry
from sft.config import load
from sft.errors import InputError


def test_by_the_newest_training_like_it(home: Path) -> None:
    compute, said = LocalCompute(home / "state"), list[str]()
    config = load("smoke", ["budget.max_hours=2", "budget.max_cost=3", "budget.prices={cpu: 1.0}"]).config
    within_budget(config, compute, 10**9, said.append)
    assert said == [UNKNOWN], "nothing is known, and nothing refused"
    facts = {"engine": "paddleformers", "gpu": "cpu", "trained": True, "steps": 100, "training_seconds": 360.0}
    entry = Entry(id="20260101-000000-a", name="smoke", started=time.time(), outcome="completed", **facts)
    put_json(compute, "outputs", "ledger/20260101-000000-a.json", entry.model_dump())
    within_budget(config, compute, 1900, said.append)  # 0.001 h a step
    assert said[-1].startswith("about 1.9 h, 1.90 USD")
    with pytest.raises(InputError, match=r"beyond its budget \(found about 2.1 h"):
        within_budget(config, compute, 2100, said.append)
    with pytest.raises(InputError, match=r"the curve would go beyond its budget.*take smaller parts"):
        within_budget(config, compute, 2100, said.append, "curve")
    dear = load("smoke", ["budget.max_cost=3", "budget.prices={cpu: 2.0}"]).config
    with pytest.raises(InputError, match=r"budget.max_cost: the sweep would go beyond its budget"):
        within_budget(dear, compute, 1900, said.append)
