"""Asked and effective, on what the trainers really printed; and once on a training that runs for real."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from compute.local import LocalCompute
from sft.config import load
from sft.context import Context
from sft.engines import ENGINES
from sft.engines.base import Command, Folders, TrainSpec
from sft.engines.paddleformers import PaddleFormers
from sft.errors import TrainingFailed
from sft.jobs.download_model import download_model
from sft.jobs.examples import SPEC
from sft.jobs.train import train
from sft.plan import download_args
from sft.training.effective import Effective, same
from tests.support.runs import short_training

FIXTURES = Path(__file__).parents[2] / "fixtures"
FOLDERS = Folders(Path("/base"), Path("/t.jsonl"), Path("/out"), Path("/logs"), Path("/work/train.yaml"))
# The trainings that were recorded; ERNIEKit's needed four other values on a CPU.
RECORDED: dict[str, tuple[TrainSpec, dict[str, Any]]] = {
    "erniekit": (
        SPEC.model_copy(
            update={
                "max_steps": 6,
                "warmup_steps": 1,
                "learning_rate": 1e-3,
                "min_learning_rate": 1e-4,
                "batch_size": 2,
                "gradient_accumulation_steps": 1,
                "max_seq_len": 512,
                "save_steps": 2,
                "save_total_limit": 3,
            }
        ),
        {"device": "cpu", "compute_type": "float32", "dataloader_num_workers": 1, "use_flash_attention": False},
    ),
    "paddleformers": (
        load("smoke", ["train.save_steps=2", "train.logging_steps=1", "train.batch_size=4"]).config.spec(4),
        {},
    ),
}


def listen(
    name: str, text: str, *, config: Mapping[str, Any] | None = None, start: int = 0, **changes: Any
) -> Effective:
    """What is made of a trainer's output, where the plan was that of the recording but for ``changes``."""
    engine, (spec, elsewhere) = ENGINES[name], RECORDED[name]
    spec = spec.model_copy(update=changes)
    command = engine.command(spec, FOLDERS, None)
    asked = {**command.config, **command.printed, **elsewhere, **(config or {})}
    effective = Effective(asked, engine.explained, spec, start)
    for line in text.splitlines(keepends=True):
        effective.read(line)
        if (progress := engine.progress(line)) is not None:
            effective.progress(progress)
    return effective


def recording(name: str) -> str:
    return (FIXTURES / f"{name}_start.log").read_text()


def change(text: str, key: str, value: str) -> str:
    """The recording, had the trainer used another value."""
    changed, times = re.subn(rf"(- {key} *: )[^\x1b\n]*", rf"\g<1>{value}", text)
    assert times, key
    return changed


@pytest.mark.parametrize("name", RECORDED)
def test_a_trainer_that_obeys_is_left_alone(name: str) -> None:
    effective = listen(name, recording(name))
    assert len(effective.printed) > 200


@pytest.mark.parametrize("name", RECORDED)
def test_every_value_of_the_config_file_is_compared_or_explained(name: str) -> None:
    printed = listen(name, recording(name)).printed
    asked = set(ENGINES[name].command(RECORDED[name][0], FOLDERS, None).config)
    assert asked - set(printed) <= set(ENGINES[name].explained)
    assert set(ENGINES[name].explained) <= asked, "it explains what is not asked"


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize(
    ("key", "value"), [("learning_rate", "0.5"), ("warmup_steps", "7"), ("weight_decay", "0.0"), ("seed", "42")]
)
def test_one_other_value_stops_before_the_first_step(name: str, key: str, value: str) -> None:
    asked = ENGINES[name].command(RECORDED[name][0], FOLDERS, None).config[key]
    before = recording(name).partition(", global_step: 1,")[0]  # nothing of the first step's line is needed
    with pytest.raises(TrainingFailed) as caught:
        listen(name, change(before, key, value))
    assert re.search(rf"{key} +{re.escape(str(asked))} +{re.escape(value)}", caught.value.message)
    assert (caught.value.where, caught.value.value) == ("before the first step", "1 difference")
    assert "sft/engines" in caught.value.remedy


def test_another_number_of_processes_stops() -> None:
    """A launcher that starts one, or all that it finds: each step would have other rows."""
    before = recording("paddleformers").partition(", global_step: 1,")[0]
    with pytest.raises(TrainingFailed, match=r"world_size +1 +2"):
        listen("paddleformers", change(before, "world_size", "2"))


def test_float32_that_becomes_bf16_stops() -> None:
    """What PaddleFormers 1.2.0 printed for the config file of before, which said ``bf16: false`` alone (2026-11-26)."""
    printed = change(change(recording("paddleformers"), "bf16", "True"), "compute_type", "bf16")
    with pytest.raises(TrainingFailed, match=r"bf16 +False +True"):
        listen("paddleformers", printed)


def test_a_schedule_under_a_key_that_nobody_reads_stops() -> None:
    """ERNIEKit prints its default where ``lr_scheduler`` is not what was meant."""
    with pytest.raises(TrainingFailed, match=r"lr_scheduler +constant +cosine"):
        listen("erniekit", recording("erniekit"), lr_scheduler="constant")


def test_an_argument_that_the_trainer_does_not_have_stops() -> None:
    with pytest.raises(TrainingFailed, match=r"no_such_key +3 +\(not printed\)"):
        listen("erniekit", recording("erniekit"), config={"no_such_key": 3})


@pytest.mark.parametrize("name", RECORDED)
def test_a_trainer_that_prints_no_arguments_is_not_believed(name: str) -> None:
    lines = [line for line in recording(name).splitlines() if "loss: " in line]
    with pytest.raises(TrainingFailed, match=r"learning_rate +\S+ +\(not printed\)"):
        listen(name, "\n".join(lines))


@pytest.mark.parametrize("name", RECORDED)
def test_steps_and_learning_rate_of_the_first_lines_are_the_plans(name: str) -> None:
    text, steps = recording(name), RECORDED[name][0].max_steps
    with pytest.raises(TrainingFailed, match=rf"max_steps +{steps} +9,999"):
        listen(name, text.replace(f"Total optimization steps = {steps}", "Total optimization steps = 9,999"))
    with pytest.raises(TrainingFailed, match=r"first step +1 +2"):
        listen(name, text.replace("global_step: 1,", "global_step: 2,"))
    with pytest.raises(TrainingFailed, match=r"first step +3 +1"):
        listen(name, text, start=2)
    with pytest.raises(TrainingFailed, match=r"learning rate of step 2 "):
        listen(name, re.sub(r"learning_rate: \S+, global_step: 2,", "learning_rate: 0.0009, global_step: 2,", text))


def test_a_resume_goes_on_where_the_schedule_was() -> None:
    text = recording("erniekit")
    head, lines = text.partition("Total optimization steps = 6")[0], text.splitlines()
    from_five = "\n".join([head, *[line for line in lines if "global_step: 5," in line]])
    listen("erniekit", from_five, start=4)
    with pytest.raises(TrainingFailed, match="learning rate of step 5"):  # at the peak again, as after a lost state
        listen("erniekit", from_five.replace("learning_rate: 1.859424e-04", "learning_rate: 0.001000"), start=4)


def test_steps_that_float16_skipped_do_not_move_the_schedule() -> None:
    progress = ENGINES["erniekit"].progress(
        "loss: 1, learning_rate: 0.0002, global_step: 5, global_steps_per_second: 1"
    )
    assert progress is not None
    spec = SPEC.model_copy(update={"learning_rate": 1e-3, "warmup_steps": 10, "precision": "float16"})
    Effective({}, {}, spec, 4).progress(progress)  # three of five steps were skipped
    with pytest.raises(TrainingFailed, match="learning rate of step 5"):
        Effective({}, {}, spec.model_copy(update={"precision": "bf16"}), 4).progress(progress)


@pytest.mark.parametrize(
    ("asked", "printed", "equal"),
    [
        (5e-06, "5e-06", True),
        (1, "1.0", True),
        (0.1, "0.10000001", False),
        (False, "False", True),
        (False, "0", False),
        (None, "None", True),
        ("cosine", "SchedulerType.COSINE", True),
        ("cosine", "SchedulerType.LINEAR", False),
        ("stage1", "[<ShardingOption.SHARD_OP: 'stage1'>]", True),
        ("1.0", "1.0", True),
        ("/a", "/b", False),
        (["a", "b"], "['a', 'b']", True),
        (3, "None", False),
    ],
)
def test_what_counts_as_the_same(asked: Any, printed: str, equal: bool) -> None:
    assert same(asked, printed) == equal


class Before(PaddleFormers):
    """The engine as it was: it asked for ``bf16: false`` and not for a ``compute_type``."""

    def command(self, spec: TrainSpec, folders: Folders, resume_from: Path | None) -> Command:
        made = super().command(spec, folders, resume_from)
        config = {key: value for key, value in made.config.items() if key not in ("compute_type", "amp_master_grad")}
        return Command(made.argv, made.environment, config)


@pytest.mark.usefixtures("one_look")
def test_a_real_training_stops_before_its_first_step(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "paddleformers", Before())
    compute = LocalCompute(home / "state")
    context = Context(compute.volumes, "call", say=lambda line: None)
    download_model(download_args(load("smoke").config), context)
    given = short_training(compute)
    with pytest.raises(TrainingFailed, match=r"bf16 +False +True"):
        train(given, context)
    run = compute.volumes.run(given.identity)
    assert (run / "metrics.jsonl").read_text() == ""
    assert not list((run / "trainer").glob("checkpoint-*")), "the trainer saved what must not be resumed from"
