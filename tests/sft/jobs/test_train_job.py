"""The job train with the engine erniekit, whose command is stood in for (tests/support/erniekit says how)."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from compute.local import LocalCompute
from sft.context import Context, read_event
from sft.engines import ENGINES
from sft.engines.base import Command, Folders, TrainSpec
from sft.engines.erniekit import ErnieKit
from sft.errors import InputError, IntegrityError, LeaseHeld, TrainingFailed, TransientError
from sft.jobs.train import TRAIN, TrainArgs, train
from sft.smoke import tiny
from sft.store import lease, records
from tests.support.entries import Memory
from tests.support.living import processes
from tests.support.packed import packed
from tests.support.runs import short_training

BIN = Path(__file__).parents[2] / "support" / "bin"


@pytest.fixture
def context(home: Path, one_look: None, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), str(Path(sys.executable).parent), os.environ["PATH"]]))
    volumes = LocalCompute(home / "state").volumes
    base = volumes.models / f"PaddleOCR-VL-tiny@{tiny.version()[:12]}"
    base.mkdir()
    (base / "chat_template.jinja").write_text(tiny.CHAT_TEMPLATE)
    (base / "inference.yml").write_text("serving: yes")
    (base / "config.json").write_text('{"pad_token_id": 0, "vision_config": {"hidden_act": "gelu_pytorch_tanh"}}')
    save_file({"lm_head.weight": np.ones((4, 2), np.float32)}, str(base / "model.safetensors"))
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
    assert set(record["model"]) == {"chat_template.jinja", "config.json", "inference.yml", "model.safetensors"}
    base = context.volumes.models / args(home).base_model
    assert (run / "model" / "config.json").read_bytes() == (base / "config.json").read_bytes(), "not the trainer's"
    assert (run / "trainer" / "trainer_state.json").is_file(), "what else the trainer wrote stays with it"
    written = yaml.safe_load((run / "work" / "train.yaml").read_text())
    assert (written["max_steps"], written["packing_size"]) == (10, 4)
    assert (run / "trainer" / "checkpoint-8" / "checkpoint_manifest.json").exists()
    assert not (run / "lease.json").exists()


def test_images_in_shards_are_files_for_the_trainer_and_gone_behind_it(home: Path, context: Context) -> None:
    given, said = packed(args(home), context.volumes.data / "packed-digits"), list[str]()
    record = TRAIN.run(given.model_dump(), dataclasses.replace(context, say=said.append))
    assert record["steps"] == 10
    (rows,) = context.volumes.run(record["identity"]).glob("work/train.*.jsonl")
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    places = [Path(line["image_info"][0]["image_url"]) for line in lines]
    assert len(places) == 32
    assert all(place.is_relative_to(context.volumes.data / ".unpacked") for place in places)
    assert not any(place.exists() for place in places)
    assert any("packed images are unpacked" in line for line in said)


def test_a_training_that_goes_on_from_another_ones_model_has_the_bases_small_files_too(
    home: Path, context: Context
) -> None:
    first = train(args(home), context)
    run = context.volumes.run(first["identity"])
    (run / "model" / "chat_template.jinja").write_text("what a trainer made of it, kept by an earlier version of ours")
    files = records.manifest(run / "model")
    records.write_record(run, {**first, "model": files, "model_identity": records.manifest_hash(files)})
    going_on = args(home).model_copy(update={"identity": "c" * 64, "start_from": first["identity"]})
    second = train(going_on, context)
    assert second["start_from"] == first["identity"]
    assert (context.volumes.run("c" * 64) / "model" / "chat_template.jinja").read_text() == tiny.CHAT_TEMPLATE


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
    monkeypatch.setenv("STANDIN_STOP_AT", "7")
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


def interrupted(home: Path, context: Context, monkeypatch: pytest.MonkeyPatch, step: int) -> Path:
    """A training that ended after ``step`` as if it had been killed; returns its folder."""
    monkeypatch.setenv("STANDIN_STOP_AT", str(step))
    with pytest.raises(TrainingFailed, match="before the last step"):
        train(args(home), context)
    monkeypatch.delenv("STANDIN_STOP_AT")
    return context.volumes.run(args(home).identity)


def test_a_kill_during_the_first_save_starts_again(
    home: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ERNIEKit refuses a folder that has anything in it but no checkpoint: what is left goes out of its way."""
    run = interrupted(home, context, monkeypatch, 5)
    (run / "trainer" / "checkpoint-4" / "checkpoint_manifest.json").unlink()  # the kill came before it was whole
    record = train(args(home), context)
    assert (record["resumed_from"], record["steps"]) == (None, 10)
    assert (run / "quarantine" / "checkpoint-4").is_dir()
    assert (run / "quarantine" / "remains" / "config.json").exists(), "what lay beside it is set aside, too"


def test_resume_never_starts_at_step_0_and_keeps_what_was(
    home: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = interrupted(home, context, monkeypatch, 9)
    record = train(args(home).model_copy(update={"resume": "never"}), context)
    assert (record["resumed_from"], record["steps"]) == (None, 10)
    assert {"checkpoint-4", "checkpoint-8"} <= {path.name for path in (run / "quarantine").iterdir()}
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 11))


def test_what_a_version_before_kept_in_the_trainers_folder_is_no_obstacle(home: Path, context: Context) -> None:
    old = context.volumes.run(args(home).identity) / "trainer" / "quarantine" / "checkpoint-4"
    old.mkdir(parents=True)
    assert train(args(home), context)["steps"] == 10


def test_a_training_where_no_row_fits_does_not_go_round_for_ever(home: Path, context: Context) -> None:
    with pytest.raises(TrainingFailed) as caught:
        train(args(home, max_seq_len=8), context)
    assert "max_seq_len" in str(caught.value)
    assert "often enough" not in str(caught.value), "the stand-in had to end it"


def test_stopping_ends_cli_launcher_and_worker(home: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "0.3")
    seen: list[int] = []

    def say(line: str) -> None:
        if "global_step: 2," in line:
            seen.append(len(processes(str(home))))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(args(home), dataclasses.replace(context, say=say))
    assert seen == [4], "guard, CLI, launcher, worker"
    assert processes(str(home)) == []


def test_no_secret_is_in_the_environment_that_the_trainer_prints(
    home: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "MODAL_TOKEN_SECRET", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "DB_PASSWORD"):
        monkeypatch.setenv(name, "PLANTED")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    log: list[str] = []
    train(args(home), dataclasses.replace(context, say=log.append))
    assert "TOKENIZERS_PARALLELISM=false" in log
    assert not [line for line in log if "PLANTED" in line]
    assert not [path for path in home.rglob("*") if path.is_file() and b"PLANTED" in path.read_bytes()]


class Before(ErnieKit):
    """The engine as it was: it wrote its schedule under a key that ERNIEKit takes and never reads."""

    def command(self, spec: TrainSpec, folders: Folders, resume_from: Path | None) -> Command:
        made = super().command(spec, folders, resume_from)
        config = {key: value for key, value in made.config.items() if key != "lr_scheduler"}
        return Command(made.argv, made.environment, config | {"lr_scheduler_type": spec.lr_scheduler})


def test_a_schedule_that_the_trainer_does_not_use_stops_it(
    home: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant = args(home, lr_scheduler="constant", warmup_steps=0)
    monkeypatch.setitem(ENGINES, "erniekit", Before())
    with pytest.raises(TrainingFailed, match=r"learning rate of step 1 +0\.002 +0\.00195"):
        train(constant, context)
    monkeypatch.setitem(ENGINES, "erniekit", ErnieKit())
    assert train(constant, context)["steps"] == 10


@pytest.mark.parametrize("last", [True, False])
def test_a_training_whose_commits_are_refused_says_so_and_goes_on(home: Path, context: Context, last: bool) -> None:
    """It fails only where its result cannot be made durable."""
    log: list[str] = []
    run = context.volumes.run(args(home).identity)

    def commit() -> None:
        if not (last and (run / "record.json").exists()):
            raise TransientError("Modal cannot refresh it: busy", where="volume outputs", remedy="run again")

    refused = dataclasses.replace(context, commit=commit, say=log.append)
    if last:
        assert train(args(home), refused)["steps"] == 10
    else:
        with pytest.raises(TransientError, match="busy"):
            train(args(home), refused)
    events = list(filter(None, map(read_event, log)))
    notes = [event["text"] for event in events if event["event"] == "note" and "durable" in event["text"]]
    assert [text.partition(" is not durable yet; the training goes on")[0] for text in notes] == [
        "checkpoint-4",
        "checkpoint-8",
    ]
    assert not [event for event in events if event["event"] == "checkpoint"], "none was told to be complete"


def test_a_base_model_without_record_is_refused(home: Path, context: Context) -> None:
    wanted = args(home).model_copy(update={"base_model": "none"})
    with pytest.raises(IntegrityError, match="not on the models volume"):
        train(wanted, context)


def between_machines(context: Context, entries: Memory, say: Callable[[str], None] = lambda line: None) -> Context:
    """The same call in a container: it agrees with others by ``entries``; every call runs."""
    shared = lease.Shared(lambda: None, lambda: None, lambda call: True, entries)
    return dataclasses.replace(context, shared=shared, say=say)


def test_a_training_that_has_lost_its_lease_writes_nothing_that_counts_any_more(home: Path, context: Context) -> None:
    entries = Memory()

    def taken_over(line: str) -> None:
        if (read_event(line) or {}).get("event") == "checkpoint":
            (key,) = (key for key in entries.kept if "#" in key)
            chain, _, number = key.rpartition("#")
            entries.add(f"{chain}#{int(number) + 1}", {"call_id": "call-2", "token": "another machine"})

    with pytest.raises(LeaseHeld) as caught:
        train(args(home), between_machines(context, entries, taken_over))
    assert caught.value.value == "call-2"
    run = context.volumes.run(args(home).identity)
    assert records.read_record(run) is None
    sealed = [path.parent.name for path in (run / "trainer").glob("*/checkpoint_manifest.json")]
    assert sealed == ["checkpoint-4"]
    assert train(args(home), context)["resumed_from"] == "checkpoint-4"
