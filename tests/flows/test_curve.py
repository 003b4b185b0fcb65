"""How many pages: real trainings on nested parts, the same dev rows, and what is expected of more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compute.local import LocalCompute
from flows.curve import curve
from runs.growth import Growth, table, verdict
from sft.config import load
from sft.store import records

pytestmark = pytest.mark.usefixtures("prefect_server", "one_reader", "one_look")
SETTINGS = [
    *("dataset.digits.train_rows=320", "dataset.digits.held_out_rows=4", "dataset.dev_share=0.15"),
    *("train.max_steps=24", "train.save_steps=24", "train.warmup_steps=1"),
]


def test_nested_parts_are_trained_and_the_law_through_them_tells_what_more_gives(home: Path) -> None:
    config, compute = load("smoke", SETTINGS).config, LocalCompute(home / "state")
    growth = curve(config, [1.0, 0.25, 0.5])
    assert isinstance(growth, Growth)
    assert [(point.part, point.steps) for point in growth.points] == [(0.25, 6), (0.5, 12), (1.0, 24)]
    given = []
    for point in growth.points:
        run = compute.volumes.run(point.identity)
        rows = (run / "work" / "train.messages.jsonl").read_text().splitlines()
        assert len(rows) == point.rows
        given.append({json.loads(row)["images"][0] for row in rows})
        score = json.loads((run / "dev" / f"step-{point.steps}.json").read_text())
        assert score["rows"] == score["of_rows"] > 30, "all read the same dev rows"
    assert given[0] < given[1] < given[2], "a smaller part lies in a larger one"
    assert 0.15 < len(given[0]) / len(given[2]) < 0.35
    assert growth.points[0].low < growth.points[0].error < growth.points[0].high
    told = table(growth)
    assert [row[0] for row in told[1:]] == ["0.25", "0.5", "1", "2 ×", "4 ×"]
    (page,) = (home / "models" / "curves").glob("smoke-*/report.html")
    drawn = page.read_text()
    assert drawn.count("<circle") == len(told) - 1
    assert all(f"<td>{cell}" in drawn for row in told[1:] for cell in row)
    assert verdict(growth)[0][1:] in drawn
    assert "twice as many lower the error by" in verdict(growth)[0]

    calls = len(list(compute.calls.iterdir()))
    assert curve(config, [0.25, 0.5, 1.0]) == growth
    assert len(list(compute.calls.iterdir())) == calls, "nothing is trained or read again"
    records.write_json(home / "growth.json", growth.model_dump())
