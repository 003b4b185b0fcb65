"""Does ``sft history`` stay quick with ten thousand runs in the ledger?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, seconds
from compute.local import LocalCompute
from runs.ledger import FOLDER, Entry
from sft.store import usage

RUNS = 10_000


def figures() -> Iterator[Figure]:
    """The newest twenty of 10,000 runs, against ``sft --help``."""
    command = str(Path(sys.executable).with_name("sft"))
    now = time.time()
    with tempfile.TemporaryDirectory() as name:
        outputs = LocalCompute(Path(name)).volumes.outputs
        ledger, used = outputs / FOLDER, outputs / usage.FOLDER
        ledger.mkdir()
        used.mkdir()
        for number in range(RUNS):
            entry = Entry(id=f"2026{number:04d}-000000-{number:08x}", name="nightly", started=1.7e9 + number)
            (ledger / f"{entry.id}.json").write_text(entry.model_dump_json())
            began = now - number * 8 * 3600  # three trainings a day: some ninety are of this month
            values = {"call_id": str(number), "job": "train", "identity": "x", "gpu": "cpu"}
            call = usage.Usage.model_validate({**values, "began": began, "seen": began + 3600, "ended": True})
            (used / call.file).parent.mkdir(exist_ok=True)
            (used / call.file).write_text(call.model_dump_json())
        environment = {**os.environ, "SFT_HOME": name}
        ours = seconds(lambda: subprocess.run([command, "history"], env=environment, check=True, capture_output=True))
        helped = seconds(lambda: subprocess.run([command, "--help"], check=True, capture_output=True))
    yield Figure(f"sft history, {RUNS:,} runs", ours, helped, "s (sft --help)", "≤ 1 s", ours <= 1)
