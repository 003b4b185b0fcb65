"""What do Modal's commits take from a training, where each takes 3 s?

The real client and container entrypoint against the stand-in server of the tests, whose volumes commit as Modal's do
(tests/support/modal_volumes.py): a snapshot is copied, and is seen 3 s later. The trainer works on meanwhile. A sealed
checkpoint is due every few seconds here; at most 5 % of the time goes into commits, whatever is due.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure
from benchmarks.sizes import size
from benchmarks.stand_in import stand_in
from benchmarks.training import median_rate

STEPS = size(240, 60)
SETTINGS = (
    *("compute=modal", "modal.gpu=none", "dataset.digits.train_rows=400", "dataset.digits.held_out_rows=4"),
    *(f"train.max_steps={STEPS}", f"train.save_steps={STEPS // 12}", "train.logging_steps=1", "promote.mode=never"),
)
DEPLOY = "from modal_infra.app import app, setup; setup.deploy(); app.deploy()"
SLOW = 3.0  # seconds


def figures() -> Iterator[Figure]:
    """With commits that take 3 s, with such that take no time, and with slow ones again: the machine's speed drifts."""
    slow, quick, again = _rate(SLOW), _rate(0.0), _rate(SLOW)
    rate, ratios = statistics.mean((slow, again)), sorted((slow / quick, again / quick))
    question, unit = f"steps/s of a training, commits take {SLOW:.0f} s", "steps/s (commits take no time)"
    yield Figure(question, rate, quick, unit, "≥ 0.95", rate >= 0.95 * quick, (ratios[0], ratios[1]))


def _rate(seconds: float) -> float:
    with stand_in() as (server, environment, folder):
        server.rules.commit_seconds = seconds
        subprocess.run([sys.executable, "-c", DEPLOY], env=environment, cwd=folder, check=True, capture_output=True)
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        command = [str(Path(sys.executable).with_name("sft")), "run", "smoke", *settings]
        subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)
        (call,) = [call for call in server.calls.values() if "train" in call.function_id]
        return median_rate(call.log.decode().splitlines())
