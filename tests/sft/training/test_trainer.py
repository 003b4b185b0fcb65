"""Faults of a trainer, each caused by a real process: what is noticed, what becomes of it, what the message says."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from compute.local import LocalCompute
from sft.context import Context
from sft.engines import ENGINES
from sft.engines.base import Command
from sft.errors import JobDied, TrainingFailed
from sft.store.lease import Held
from sft.training.trainer import Trainer
from tests.support.living import processes
from tests.support.mounting import CAN_MOUNT

SAY = "import time, sys, os, pathlib\ndef say(step, loss): print(%r.format(step=step, loss=loss), flush=True)\n"
LINE = "loss: {loss}, learning_rate: 0.001, global_step: {step}, interval_steps_per_second: 5.0, ppl: 1"


def trainer(home: Path, script: str, **options: float | str) -> tuple[Trainer, Command, Path]:
    """A trainer whose process runs ``script``, which has ``say(step, loss)``."""
    run = LocalCompute(home / "state").volumes.outputs / "runs" / "x"
    (run / "work").mkdir(parents=True)
    body = SAY % LINE
    command = Command((sys.executable, "-c", body + script, str(home / "state")), {}, {})
    context = Context(LocalCompute(home / "state").volumes, "call", say=lambda line: None)
    return Trainer(context, ENGINES["paddleformers"], "identity", run, Held(), **options), command, run / "trainer"  # type: ignore[arg-type]


def fails(home: Path, script: str, **options: float | str) -> TrainingFailed:
    made, command, output = trainer(home, script, **options)
    with pytest.raises(TrainingFailed) as caught:
        made.run(command, output, None)
    assert processes(str(home / "state")) == [], "something of the trainer is left"
    return caught.value


def test_no_progress_stops_the_training_with_all_its_processes(home: Path) -> None:
    script = (
        "import subprocess\n"
        "say(1, 2.0)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', sys.argv[1]])\n"
        "while True: print('still here', flush=True); time.sleep(0.2)\n"
    )
    begun = time.monotonic()
    error = fails(home, script, stall_seconds=1.0)
    assert time.monotonic() - begun < 20
    assert (error.message, error.where) == ("the trainer made no progress", "step 1")
    assert "train.stall_minutes" in error.remedy


def test_a_crash_of_native_code_is_a_death_after_which_the_run_resumes(home: Path) -> None:
    """Seen with Paddle: a general protection fault in getenv, while another thread set a variable."""
    made, command, output = trainer(home, "say(1, 2.0)\nimport os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n")
    with pytest.raises(JobDied, match="the trainer crashed") as caught:
        made.run(command, output, None)
    assert (caught.value.where, caught.value.value) == ("step 1", "signal SIGSEGV")


def test_steps_that_come_in_time_are_progress(home: Path) -> None:
    made, command, output = trainer(home, "for i in range(8): say(i, 1.0); time.sleep(0.3)\n", stall_seconds=1.5)
    made.run(command, output, None)
    assert made.last is not None
    assert made.last.step == 7


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_no_number_stops_at_once(home: Path, value: str) -> None:
    error = fails(home, f"say(3, '{value}'); time.sleep(60)")
    assert (error.where, error.value) == ("step 3", value)
    assert "train.learning_rate" in error.remedy


def test_a_loss_that_diverges_stops_and_one_that_jumps_does_not(home: Path) -> None:
    error = fails(home, "for i in range(200): say(i, 3 - i / 50 if i < 60 else 9.0)\ntime.sleep(60)")
    assert error.message == "the loss diverges"
    assert "lower train.learning_rate" in error.remedy
    made, command, output = trainer(home / "other", "for i in range(200): say(i, 9.0 if i % 20 == 7 else 2.0)")
    made.run(command, output, None)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("print('ResourceExhaustedError: Out of memory error on GPU 0'); sys.exit(1)", "it ran out of memory: --set x"),
        ("os.kill(os.getpid(), 9)", "if memory ran out, --set x"),
        ("print('OSError: [Errno 28] No space left on device'); sys.exit(1)", "free room on the outputs volume"),
        ("print('odd'); sys.exit(3)", "see the last lines above"),
    ],
)
def test_the_last_words_become_a_remedy(home: Path, last: str, said: str) -> None:
    assert said in fails(home, f"say(1, 2.0)\n{last}", smaller="--set x").remedy


CHECKPOINTS = """
out = pathlib.Path(sys.argv[1]) / "volumes/outputs/runs/x/trainer"
for step in range(1, 9):
    folder = out / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(bytes(6 << 20))
    say(step + 0, 1.0); time.sleep(0.4)
"""
ON_SMALL_DISK = """
import sys
from pathlib import Path
from tests.sft.training.test_trainer import CHECKPOINTS, trainer
made, command, output = trainer(Path(sys.argv[1]), CHECKPOINTS)
made.run(command, output, None)
"""


@pytest.mark.skipif(not CAN_MOUNT, reason="unshare --mount is not permitted here: no small disk can be made")
def test_a_volume_that_fills_up_stops_before_a_checkpoint_is_torn(home: Path) -> None:
    disk = home / "state" / "volumes" / "outputs"
    disk.mkdir(parents=True)
    script = f"mount -t tmpfs -o size=32m tmpfs {disk} && exec {sys.executable} -c '{ON_SMALL_DISK}' {home}"
    root = Path(__file__).parents[3]
    process = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script], cwd=root, capture_output=True, text=True
    )
    assert process.returncode == 1
    assert "the outputs volume is nearly full" in process.stderr
    assert "Errno 28" not in process.stderr
