import dataclasses
import warnings
from pathlib import Path

import pytest

from sft.config import load
from sft.dataset.packing import Amount
from sft.engines import ENGINES
from sft.engines.base import Folders, TrainSpec
from sft.plan import train_spec

FOLDERS = Folders(Path("/base"), Path("/t.jsonl"), Path("/out"), Path("/logs"), Path("/work/train.yaml"))
# A line as PaddleFormers 1.2.0 printed it.
LINE = (
    "\x1b[32m[2026-11-24 21:29:09,478] [    INFO]\x1b[0m - loss: 1.98255119, learning_rate: 3.495e-05, "
    "global_step: 280, interval_runtime: 2.4718, interval_samples_per_second: 64.7311, "
    "interval_tokens_per_second_per_device: 33142.3151, "
    "interval_steps_per_second: 4.0457, ppl: 7.261244188645285, progress_or_epoch: 0.9333"
)


def spec(profile: str, *settings: str) -> TrainSpec:
    return train_spec(load(profile, settings).config, Amount(29_632))


@pytest.mark.parametrize("name", ENGINES)
def test_a_progress_line_is_read(name: str) -> None:
    progress = ENGINES[name].progress(LINE)
    assert progress is not None
    assert (progress.step, progress.loss, progress.learning_rate, progress.rate) == (280, 1.98255119, 3.495e-05, 4.0457)


@pytest.mark.parametrize(
    "line", ["", "global_step: 3", "[DataLoad global_step: 273] data_load_time: 0.13 ms", "loss: x"]
)
def test_other_lines_are_no_progress(line: str) -> None:
    assert ENGINES["paddleformers"].progress(line) is None


def test_a_loss_that_is_no_number_is_read_as_such() -> None:
    progress = ENGINES["paddleformers"].progress(LINE.replace("loss: 1.98255119", "loss: nan"))
    assert progress is not None
    assert progress.loss != progress.loss


@pytest.mark.parametrize("profile", ["smoke", "lora"])
def test_paddleformers_knows_every_argument(profile: str) -> None:
    """Against the argument classes of the package that is installed: a key that it does not know stops a training."""
    from sft.engines.cpu_launcher import stub_triton

    stub_triton()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from paddleformers.cli.hparams.parser import _TRAIN_ARGS
    known = {field.name for cls in _TRAIN_ARGS for field in dataclasses.fields(cls)}
    config = ENGINES["paddleformers"].command(spec(profile), FOLDERS, Path("/out/checkpoint-3")).config
    assert set(config) - known == set()


def test_erniekits_config_is_that_of_its_guide() -> None:
    command = ENGINES["erniekit"].command(spec("full"), FOLDERS, None)
    assert command.argv == ("erniekit", "train", "/work/train.yaml")
    assert command.environment["CUDA_VISIBLE_DEVICES"] == "0"
    config = command.config
    assert (config["stage"], config["max_steps"], config["warmup_steps"]) == ("OCR-VL-SFT", 926, 10)
    assert (config["packing_size"], config["gradient_accumulation_steps"], config["max_seq_len"]) == (8, 8, 16384)
    assert "resume_from_checkpoint" not in config


@pytest.mark.parametrize("name", ENGINES)
def test_a_resume_names_its_checkpoint(name: str) -> None:
    config = ENGINES[name].command(spec("full"), FOLDERS, Path("/out/checkpoint-3")).config
    assert config["resume_from_checkpoint"] == "/out/checkpoint-3"


def test_what_does_not_change_the_result_is_not_part_of_the_identity() -> None:
    same = spec("smoke").identity()
    assert spec("smoke", "train.save_steps=7", "train.logging_steps=3", "train.save_total_limit=9").identity() == same
    assert spec("smoke", "train.seed=2").identity() != same
    assert spec("smoke", "train.learning_rate=0.1").identity() != same
    assert spec("lora").identity() != spec("lora", "train.lora.rank=4").identity()
