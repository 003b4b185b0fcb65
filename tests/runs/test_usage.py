"""What a month has cost, by the notes of the trainings' own calls."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from compute.local import LocalCompute
from runs.prices import Prices
from runs.usage import month_so_far, month_start, read_usage
from sft.config import load
from sft.store import records
from sft.store.usage import FOLDER, Usage, metered, month, stamp

CONFIG = load("smoke", ["budget.prices={cpu: 2, A100-80GB: 3}"]).config


def noted(compute: LocalCompute, call: str, began: float, hours: float, gpu: str = "cpu") -> None:
    end = began + 3600 * hours
    usage = Usage(call_id=call, job="train", identity="i", gpu=gpu, began=began, seen=end, ended=True)
    records.write_json(compute.volumes.outputs / FOLDER / usage.file, usage.model_dump())


def test_the_month_is_the_sum_of_its_calls_each_by_its_own_price(home: Path) -> None:
    compute, start = LocalCompute(home / "state"), month_start()
    assert month_so_far(Prices(CONFIG), compute) == (0.0, 0.0)
    noted(compute, "a", start + 60, 1.0)
    noted(compute, "b", start + 90, 0.5, "A100-80GB")
    noted(compute, "of an unknown price", start + 90, 0.5, "T4")
    noted(compute, "over the turn of the month", start - 3600, 1.25)
    noted(compute, "earlier", start - 9 * 3600, 8.0)
    hours, cost = month_so_far(Prices(CONFIG), compute)
    assert [hours, cost] == pytest.approx([2.25, 2.0 + 1.5 + 0.5])
    assert month_so_far(Prices(CONFIG), compute, but="a")[1] == pytest.approx(2.0)


def test_a_call_that_works_is_counted_and_one_that_is_killed_keeps_its_last_note(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sft.store.usage.NOTED", 0.05)
    compute = LocalCompute(home / "state")
    before = time.time()
    with metered(compute.volumes.outputs, Usage.now("call", "train", "cpu")):
        time.sleep(0.3)
        (working,) = read_usage(compute, before)
        assert not working.ended
        assert working.seconds() > 0.1
    (ended,) = read_usage(compute, before)
    assert ended.ended
    assert ended.seconds() >= working.seconds()
    assert list(read_usage(compute, time.time() + 1)) == []


def test_a_torn_note_and_one_of_another_version_are_left_out(home: Path) -> None:
    compute = LocalCompute(home / "state")
    folder = compute.volumes.outputs / FOLDER / month(time.time())
    folder.mkdir(parents=True)
    (folder / f"{stamp(time.time())}-torn.json").write_text('{"call_id": "x", "beg')
    (folder / f"{stamp(time.time())}-strange.json").write_text('{"call": 1}')
    noted(compute, "good", time.time() - 10, 0.001)
    for since in (0, time.time() - 60):
        assert [usage.call_id for usage in read_usage(compute, since)] == ["good"]
