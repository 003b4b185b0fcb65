"""benchmarks/gpu.py at its small size: the script that measures a GPU works before one is paid for."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from sft.models.second_reader import PROJECT, interpreter


@pytest.mark.skipif(interpreter() is None, reason="run make torch")
def test_the_script_measures_training_and_reading(tmp_path: Path) -> None:
    command = [str(interpreter()), "-W", "ignore", str(PROJECT / "benchmarks" / "gpu.py"), "--tiny"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    process = subprocess.run(
        [*command, "--json", str(tmp_path / "told.json")], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
    told = json.loads((tmp_path / "told.json").read_text())
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
