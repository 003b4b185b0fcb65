"""The flow and its trackers: one that is down fails no run, a training that died is told of, and one that is cancelled
is kept; W&B writes its files here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compute.local import LocalCompute
from flows.fine_tune import fine_tune
from runs.results import RunResult
from sft.config import RunConfig, load
from sft.errors import JobDied
from tests.flows.test_end_to_end import latest_run, steps
from tests.support.killer import kill_training_after
from tests.support.trackers import CLIENTS, read

pytestmark = [pytest.mark.usefixtures("prefect_server", "one_reader", "one_look"), CLIENTS]
SETTINGS = [
    *("dataset.digits.train_rows=32", "dataset.digits.held_out_rows=8", "train.max_steps=12", "train.save_steps=2"),
    *("train.logging_steps=1", "train.batch_size=4", "train.restarts=0", "promote.mode=never"),
    *("track.mlflow=http://127.0.0.1:9", "track.wandb=me/ocr"),
]


def configuration(*more: str) -> RunConfig:
    return load("smoke", [*SETTINGS, *more]).config


def outbox(home: Path) -> dict[str, Any]:
    (path,) = (home / "state").glob("volumes/outputs/tracking/smoke/outbox/*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_training_that_died_is_told_of_and_the_next_run_goes_on_with_the_same_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "PLANTED" + "w" * 33)
    with kill_training_after(LocalCompute(home / "state"), checkpoint=2), pytest.raises(JobDied):
        fine_tune(configuration())
    assert steps(latest_run())["track"] == "Completed"
    kept = outbox(home)
    assert kept["lacking"] == ["mlflow"], "W&B has it"
    document = kept["document"]
    assert document["outcome"] == "failed"
    assert document["error"]
    assert [line["step"] for line in document["curve"]][:2] == [1, 2]
    assert document["started"] <= document["curve"][0]["time"] <= document["finished"]

    result = fine_tune(configuration())
    assert isinstance(result, RunResult)
    assert list(steps(latest_run()))[-1] == "track"
    document = outbox(home)["document"]
    assert (document["identity"], document["outcome"]) == (result.identity, "finished")
    assert [line["step"] for line in document["curve"]] == list(range(1, 13))
    assert document["scores"]["tuned/cer"] == result.tuned["cer"]
    times = [line["time"] for line in document["curve"]]
    assert times == sorted(times)
    written = sorted((home / "state" / "tracking" / "wandb").glob("wandb/offline-run-*/run-*.wandb"))
    assert {path.name for path in written} == {f"run-{result.identity[:16]}.wandb"}
    assert read("wandb", str(written[-1]))["summary"]["tuned/cer"] == pytest.approx(result.tuned["cer"])

    before = len(written)
    fine_tune(configuration())  # all is done: W&B has it, and MLflow is still down
    assert len(sorted((home / "state" / "tracking" / "wandb").glob("wandb/offline-run-*"))) == before
    assert outbox(home)["lacking"] == ["mlflow"]
    leaked = [path for path in home.rglob("*") if path.is_file() and b"PLANTED" in path.read_bytes()]
    assert not leaked
