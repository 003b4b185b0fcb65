"""What a trainer's last words mean: words that real trainers have printed (tests/fixtures/failures/README.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sft.training.failures import explain
from tests.sft.training.test_trainer import fails

RECORDED = Path(__file__).parents[2] / "fixtures" / "failures"
SMALLER = "--set train.batch_size=4"


@pytest.mark.parametrize(
    ("name", "meaning", "advice"),
    [
        ("loss-nan", "the loss is no longer a number", "train.learning_rate"),
        ("gpu-memory", "the GPU's memory ran out", SMALLER),
        ("gpu-memory-virtual", "the GPU's memory ran out", SMALLER),
        ("machine-memory-numpy", "the machine's memory ran out", "modal.memory_mb"),
        ("machine-memory-paddle", "the machine's memory ran out", "modal.memory_mb"),
        ("machine-memory-python", "the machine's memory ran out", "modal.memory_mb"),
        ("machine-memory-trainer", "the machine's memory ran out", "modal.memory_mb"),
        ("shared-memory", "the machine's shared memory ran out", "/dev/shm"),
    ],
)
def test_recorded_words_are_understood(name: str, meaning: str, advice: str) -> None:
    said = (RECORDED / "last_words" / f"{name}.txt").read_text()
    found, remedy = explain(said, 1, SMALLER)
    assert found == meaning
    assert advice in remedy


def test_every_recorded_word_is_asked_for() -> None:
    asked = {mark.args[1][i][0] for mark in test_recorded_words_are_understood.pytestmark for i in range(8)}  # type: ignore[attr-defined]
    assert asked == {path.stem for path in (RECORDED / "last_words").iterdir()}


@pytest.mark.parametrize("code", [-9, 137])
def test_the_kernels_kill_is_told_from_an_error(code: int) -> None:
    assert explain("loss: 1.0", code, SMALLER)[0] == "the trainer was killed"
    assert explain("loss: 1.0", 1, SMALLER) == ("", "see the last lines above")


def test_a_training_that_diverges_until_it_is_no_number_says_the_step_and_what_to_change(home: Path) -> None:
    recorded = RECORDED / "paddleformers_diverged.log"
    error = fails(home, f"print(open({str(recorded)!r}).read(), flush=True); sys.exit(1)")
    assert error.message.startswith("the loss is no longer a number")
    assert (error.where, error.value) == ("step 16", "exit code 1")
    assert "lower train.learning_rate" in error.remedy


def test_a_machine_without_memory_really_says_so(home: Path) -> None:
    script = (
        "import resource, numpy\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "say(7, 2.0)\n"
        "numpy.zeros(1 << 30)\n"
    )
    error = fails(home, script, smaller=SMALLER)
    assert error.message.startswith("the machine's memory ran out")
    assert error.where == "step 7"
    assert SMALLER in error.remedy


def test_what_a_launcher_adds_behind_the_error_hides_it_not(home: Path) -> None:
    words = (RECORDED / "last_words" / "gpu-memory.txt").read_text()
    error = fails(home, f"print({words!r})\nfor i in range(30): print('LAUNCH INFO', i)\nsys.exit(1)", smaller=SMALLER)
    assert error.message.startswith("the GPU's memory ran out")
