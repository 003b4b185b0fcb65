"""benchmarks/gpu.py and gpu_trainer.py at their small size: what measures a GPU works before one is paid for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sft.models.second_reader import PROJECT, interpreter

pytestmark = pytest.mark.skipif(interpreter() is None, reason="run make torch")


def told_by(script: str, folder: Path, *options: str) -> Any:
    command = [str(interpreter()), "-W", "ignore", str(PROJECT / "benchmarks" / script), "--tiny", *options]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    process = subprocess.run(
        [*command, "--json", str(folder / "told.json")], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return json.loads((folder / "told.json").read_text())


def test_a_training_that_is_killed_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    killed, resumed, losses = told_by("gpu_trainer.py", tmp_path, "--modes", "killed")
    assert (killed["rc"], resumed["rc"]) == (-signal.SIGKILL, 0)
    assert resumed["checkpoints"] == ["checkpoint-6"]
    assert list(losses["resumed"]) == ["4", "5", "6"]
    assert losses["resumed"]["5"] == losses["killed"]["5"], "of a step that was trained twice"


def test_the_script_measures_training_and_reading(tmp_path: Path) -> None:
    told = told_by("gpu.py", tmp_path)
    assert [figure["mode"] for figure in told["figures"]] == [
        *("full, packed", "full, packed, row by row", "full, padded"),
        *("LoRA, packed", "LoRA, packed, row by row", "LoRA, padded"),
        *("reading, batch 1", "reading, batch 2"),
    ]
    packed, by_row, padded = told["figures"][:3]
    assert len({(one["rows"], one["tokens"]) for one in (packed, by_row, padded)}) == 1, "the same rows"
    assert packed["loss"] == pytest.approx(by_row["loss"], rel=1e-4)
    assert packed["loss"] == pytest.approx(padded["loss"], rel=1e-3)
    assert all(figure["tokens_per_second"] > 0 for figure in told["figures"])
    assert told["card"] == "CPU"
