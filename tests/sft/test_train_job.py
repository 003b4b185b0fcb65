"""The job train with the engine erniekit, whose command is a stand-in that checks its arguments."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from compute.local import LocalCompute
from sft import records
from sft.errors import InputError, IntegrityError, TrainingFailed
from sft.jobs.base import Context
from sft.jobs.train import TrainArgs, train
from sft.smoke import tiny
from tests.support.runs import short_training

BIN = Path(__file__).parents[1] / "support" / "bin"


@pytest.fixture
def context(home: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    volumes = LocalCompute(home / "state").volumes
    base = volumes.models / f"PaddleOCR-VL-tiny@{tiny.WEIGHTS_SHA256[:12]}"
    base.mkdir()
    (base / "chat_template.jinja").write_text("template")
    (base / "inference.yml").write_text("serving: yes")
    records.write_record(base, {"identity": "b"})
    return Context(volumes, "call-1", say=lambda line: None)


def args(home: Path, **changes: object) -> TrainArgs:
    given = short_training(LocalCompute(home / "state"), steps=10, save_steps=4)
    spec = given.spec.model_copy(update={"device": "gpu", "precision": "bf16", **changes})
    return given.model_copy(update={"engine": "erniekit", "spec": spec})


def test_a_training_leaves_a_whole_model_with_the_bases_companions(home: Path, context: Context) -> None:
    record = train(args(home), context)
    run = context.volumes.run(record["identity"])
    assert (record["steps"], record["engine"], record["resumed_from"]) == (10, "erniekit", None)
    assert records.broken_files(run / "model", record["model"]) == []
    assert {"chat_template.jinja", "inference.yml", "config.json"} <= set(record["model"])
    assert not [name for name in record["model"] if name.endswith(".bin")], "no pickle is handed on"
    written = yaml.safe_load((run / "work" / "train.yaml").read_text())
    assert (written["max_steps"], written["packing_size"]) == (10, 4)
    assert (run / "trainer" / "checkpoint-8" / "checkpoint_manifest.json").exists()
    assert not (run / "lease.json").exists()


def test_the_same_training_again_returns_the_record(home: Path, context: Context) -> None:
    first = train(args(home), context)
    os.environ["PATH"] = ""  # whatever would be started could not be
    assert train(args(home), context) == first


def test_a_torn_newest_checkpoint_is_passed_over(home: Path, context: Context) -> None:
    record = train(args(home), context)
    run = context.volumes.run(record["identity"])
    (run / "record.json").unlink()
    (run / "trainer" / "checkpoint-8" / "trainer_state.json").unlink()
    again = train(args(home), context)
    assert again["resumed_from"] == "checkpoint-4"
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 11))


@pytest.mark.parametrize("logging_steps", [3, 100])
def test_a_last_step_that_is_not_logged_counts(home: Path, context: Context, logging_steps: int) -> None:
    record = train(args(home, logging_steps=logging_steps), context)
    assert record["steps"] == 10
    assert (record["loss"] is None) == (logging_steps > 10)


def test_a_trainer_that_ends_early_without_an_error_has_failed(
    home: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP_AT", "7")
    with pytest.raises(TrainingFailed, match="before the last step") as caught:
        train(args(home), context)
    assert caught.value.value == "step 7 of 10"


def test_out_of_memory_says_what_to_change(home: Path, context: Context) -> None:
    with pytest.raises(TrainingFailed, match="Out of memory error on GPU 0") as caught:
        train(args(home, batch_size=64), context)
    assert "--set train.batch_size=32 --set train.gradient_accumulation_steps=2" in caught.value.remedy


def test_a_missing_command_is_an_error(home: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(TrainingFailed, match="cannot be started"):
        train(args(home), context)


def test_resume_takes_a_name_at_its_word(home: Path, context: Context) -> None:
    wanted = args(home).model_copy(update={"resume": "checkpoint-4"})
    with pytest.raises(InputError, match="no such checkpoint"):
        train(wanted, context)
    run = context.volumes.run(wanted.identity)
    train(args(home), context)
    (run / "record.json").unlink()
    assert train(wanted, context)["resumed_from"] == "checkpoint-4"


def test_a_base_model_without_record_is_refused(home: Path, context: Context) -> None:
    wanted = args(home).model_copy(update={"base_model": "none"})
    with pytest.raises(IntegrityError, match="not on the models volume"):
        train(wanted, context)
