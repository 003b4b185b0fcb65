import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sft.config import load
from sft.dataset.packing import Amount
from sft.engines import ENGINES
from sft.engines.base import THREADS, Folders, Progress, TrainSpec
from sft.environments.cpu_launcher import stub_triton
from sft.models.second_reader import VARIABLE
from sft.plan import train_spec
from sft.training.effective import same

FOLDERS = Folders(Path("/base"), Path("/t.jsonl"), Path("/out"), Path("/logs"), Path("/work/train.yaml"))
FIXTURES = Path(__file__).parents[2] / "fixtures"
LINE = (FIXTURES / "paddleformers_progress_lines.log").read_text().splitlines()[1]


@pytest.fixture(autouse=True)
def with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine transformers names the Python of its environment, where there is one; nothing here starts it."""
    monkeypatch.setenv(VARIABLE, sys.executable)


@contextmanager
def installed() -> Iterator[None]:
    """The package itself may be imported in the block, and may say what it likes."""
    stub_triton()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def spec(profile: str, *settings: str) -> TrainSpec:
    return train_spec(load(profile, settings).config, Amount(29_632))


RECORDED = {
    "erniekit": [
        Progress(1, 11.557625770568848, 1e-3, 0.2243),
        Progress(2, 11.549359321594238, 9.140576e-4, 0.3008),
        Progress(3, 11.427820205688477, 6.890576e-4, 0.2461),
        Progress(4, 11.245522499084473, 4.109424e-4, 0.3776),
        Progress(5, 11.166830062866211, 1.859424e-4, 0.3153),
        Progress(6, 11.0252685546875, 1e-4, 0.3586),
    ],
    "paddleformers": [
        Progress(1, 2.60322905, 0.005, 4.54),
        Progress(2, 2.65970612, 0.003775, 10.4028),
        Progress(3, 3.15392137, 0.001325, 5.2474),
        Progress(4, 2.67317367, 1e-4, 7.3969),
    ],
}


@pytest.mark.parametrize("name", ENGINES)
def test_recorded_progress_lines_are_read_and_nothing_else_is(name: str) -> None:
    """Of both trainers, by either engine: one class of PaddleFormers logs them."""
    for program, expected in RECORDED.items():
        text = (FIXTURES / f"{program}_progress_lines.log").read_text()
        read = [progress for line in text.splitlines() if (progress := ENGINES[name].progress(line)) is not None]
        assert read == expected
        assert ENGINES[name].progress(text) == expected[-1], "of several lines in one read the newest"
        rest = [line for line in (FIXTURES / f"{program}_start.log").read_text().splitlines() if "- loss: " not in line]
        assert len(rest) > 250
        assert [line for line in rest if ENGINES[name].progress(line) is not None] == []


@pytest.mark.parametrize("number", ["12", "12.0", "1.2e1", "1.2E+01", "0.12e+02", "12.", "+12"])
def test_a_number_is_read_in_any_notation(number: str) -> None:
    for line in (LINE, (FIXTURES / "erniekit_progress_lines.log").read_text().splitlines()[0]):
        changed = re.sub(r"(?<!\w)(loss|learning_rate|\w+_steps_per_second): [^,]+", rf"\1: {number}", line)
        assert ENGINES["erniekit"].progress(changed) == Progress(1, 12, 12, 12)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "global_step: 3",
        "[DataLoad global_step: 273] data_load_time: 0.13 ms",
        "loss: x",
        "my loss: 1.0, learning_rate: 0.1, global_step: 3, interval_steps_per_second: 1.0",
        "loss: 1.0, learning_rate: 0.1, global_step: 3",
        "loss: 1.0, learning_rate: 0.1, global_step: three, interval_steps_per_second: 1.0",
        *(FIXTURES / "erniekit_row_too_long.log").read_text().splitlines(),
    ],
)
def test_other_lines_are_no_progress(line: str) -> None:
    assert ENGINES["paddleformers"].progress(line) is None


def test_a_loss_that_is_no_number_is_read_as_such() -> None:
    progress = ENGINES["paddleformers"].progress(LINE.replace("loss: 2.60322905", "loss: nan"))
    assert progress is not None
    assert progress.loss != progress.loss


@pytest.mark.parametrize(
    ("profile", "settings"),
    [
        ("smoke", ()),
        ("lora", ()),
        ("t4", ()),
        ("full", ("engine=paddleformers",)),
        ("full", ("engine=paddleformers", "train.lr_scheduler=linear")),
        ("full", ("engine=paddleformers", "train.lr_scheduler=constant")),
    ],
)
def test_paddleformers_obeys_every_value(profile: str, settings: tuple[str, ...]) -> None:
    """By the argument classes of the package that is installed, GPU included: what they make of our config file."""
    with installed():
        from paddleformers.cli.hparams.parser import _TRAIN_ARGS
        from paddleformers.trainer import PdArgumentParser

        config = ENGINES["paddleformers"].command(spec(profile, *settings), FOLDERS, Path("/out/checkpoint-3")).config
        parsed = PdArgumentParser(_TRAIN_ARGS).parse_dict(dict(config))
    used = {name: str(getattr(part, name)) for part in parsed for name in vars(part)}
    assert [(key, value, used.get(key)) for key, value in config.items() if not same(value, used.get(key, ""))] == []


@pytest.mark.parametrize("precision", ["bf16", "float16"])
def test_paddleformers_precision_is_what_it_computes_in(precision: str) -> None:
    """By the argument classes themselves: ``bf16`` and ``fp16`` of a config file are overwritten by compute_type."""
    config = ENGINES["paddleformers"].command(spec("lora", f"train.precision={precision}"), FOLDERS, None).config
    assert (config["compute_type"], config["bf16"], config["fp16"]) == {
        "bf16": ("bf16", True, False),
        "float16": ("fp16", False, True),
    }[precision]


SCHEDULES = [
    (shape, warmup, low, steps)
    for shape in ("cosine", "linear", "constant")
    for warmup, low, steps in ((0, 0.0, 9), (3, 1e-4, 9), (9, 1e-4, 9), (20, 1e-4, 9), (1, 1e-3, 9), (1, 0.0, 1))
]


@pytest.mark.parametrize(("shape", "warmup", "low", "steps"), SCHEDULES)
def test_paddleformers_schedule_is_the_one_that_was_asked_for(shape: str, warmup: int, low: float, steps: int) -> None:
    """With the package's own function: ``linear`` ends at min_learning_rate, ``constant`` has its warm-up."""
    with installed():
        from paddleformers.trainer.trainer_utils import get_scheduler
    wanted = spec("lora").model_copy(
        update={
            "lr_scheduler": shape,
            "warmup_steps": warmup,
            "learning_rate": 1e-3,
            "min_learning_rate": low,
            "max_steps": steps,
        }
    )
    config = ENGINES["paddleformers"].command(wanted, FOLDERS, None).config
    asked = {key: config[key] for key in ("min_lr", "lr_end", "power") if key in config}
    schedule = get_scheduler(config["lr_scheduler_type"], 1e-3, warmup, steps, **asked)
    for step in range(1, steps + 1):
        schedule.step()
        assert schedule.get_lr() == pytest.approx(wanted.rate_at(step), abs=1e-12), step


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_schedules_are_the_formula(name: str) -> None:
    lines = RECORDED[name]
    peak = lines[0].learning_rate
    known = {"learning_rate": peak, "min_learning_rate": 1e-4, "warmup_steps": 1, "max_steps": len(lines)}
    wanted = spec("full").model_copy(update=known)
    assert [line.learning_rate for line in lines] == pytest.approx([wanted.rate_at(line.step) for line in lines])


def test_erniekits_config_is_that_of_its_guide() -> None:
    command = ENGINES["erniekit"].command(spec("full"), FOLDERS, None)
    assert command.argv == ("erniekit", "train", "/work/train.yaml")
    assert command.environment["CUDA_VISIBLE_DEVICES"] == "0"
    config = command.config
    assert (config["stage"], config["max_steps"], config["warmup_steps"]) == ("OCR-VL-SFT", 926, 10)
    assert (config["packing_size"], config["gradient_accumulation_steps"], config["max_seq_len"]) == (8, 8, 16384)
    assert "resume_from_checkpoint" not in config
    assert (config["lr_scheduler"], "lr_scheduler_type" in config) == ("cosine", False)


@pytest.mark.parametrize("name", ENGINES)
def test_a_resume_names_its_checkpoint(name: str) -> None:
    config = ENGINES[name].command(spec("full"), FOLDERS, Path("/out/checkpoint-3")).config
    assert config["resume_from_checkpoint"] == "/out/checkpoint-3"


@pytest.mark.parametrize("name", ["paddleformers", "transformers"])
def test_a_cpu_has_as_many_threads_as_its_user_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = spec("smoke", f"engine={name}")
    for said, threads in ((None, "2"), ("1", "1")):
        monkeypatch.delenv(THREADS, raising=False)
        if said is not None:
            monkeypatch.setenv(THREADS, said)
        assert ENGINES[name].command(asked, FOLDERS, None).environment[THREADS] == threads


def test_what_does_not_change_the_result_is_not_part_of_the_identity() -> None:
    same = spec("smoke").identity()
    assert spec("smoke", "train.save_steps=7", "train.logging_steps=3", "train.save_total_limit=9").identity() == same
    assert spec("smoke", "train.seed=2").identity() != same
    assert spec("smoke", "train.learning_rate=0.1").identity() != same
    assert spec("lora").identity() != spec("lora", "train.lora.rank=4").identity()
