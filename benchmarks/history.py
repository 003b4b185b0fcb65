"""Does ``sft history`` stay quick with ten thousand runs in the ledger?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, seconds
from compute.local import LocalCompute
from tasks.ledger import FOLDER, Entry

RUNS = 10_000


def figures() -> Iterator[Figure]:
    """The newest twenty of 10,000 runs, against ``sft --help``."""
    command = str(Path(sys.executable).with_name("sft"))
    with tempfile.TemporaryDirectory() as name:
        ledger = LocalCompute(Path(name)).volumes.outputs / FOLDER
        ledger.mkdir()
        for number in range(RUNS):
            entry = Entry(id=f"2026{number:04d}-000000-{number:08x}", name="nightly", started=1.7e9 + number)
            (ledger / f"{entry.id}.json").write_text(entry.model_dump_json())
        environment = {**os.environ, "SFT_HOME": name}
        ours = seconds(lambda: subprocess.run([command, "history"], env=environment, check=True, capture_output=True))
        helped = seconds(lambda: subprocess.run([command, "--help"], check=True, capture_output=True))
    yield Figure(f"sft history, {RUNS:,} runs", ours, helped, "s (sft --help)", "≤ 1 s", ours <= 1)
