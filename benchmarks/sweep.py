"""How many steps does a sweep of four trials train, by successive halving, against four whole trainings?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, smoke_run
from benchmarks.sizes import size

STEPS, TRIALS = size(200, 40), 4
SETTINGS = [
    *("dataset.digits.train_rows=300", "dataset.digits.held_out_rows=8", "dataset.dev_share=0.2"),
    *(f"train.max_steps={STEPS}", "train.logging_steps=1", "promote.mode=never"),
]
GOAL = 0.55  # of the steps of the full grid


def figures() -> Iterator[Figure]:
    """Real trainings on the CPU; what a trial trains beyond its rung before it is paused is counted."""
    with tempfile.TemporaryDirectory() as name:
        _, environment = smoke_run(Path(name), [])
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        grid = "train.learning_rate=1e-3,2e-3,5e-3,3e-2"
        command = [
            sys.executable,
            "-c",
            "from cli.run import main; main()",
            "sweep",
            "smoke",
            "--grid",
            grid,
            *settings,
        ]
        subprocess.run(command, cwd=name, env=environment, check=True, capture_output=True)
        told = Path(name).glob("**/runs/*/metrics.jsonl")
        trained = sum(json.loads(path.read_text().splitlines()[-1])["step"] for path in told)
    full = TRIALS * STEPS
    question = f"a sweep of {TRIALS} trials with halving"
    yield Figure(question, trained, full, "steps (full grid)", f"≤ {GOAL}", trained <= GOAL * full)
