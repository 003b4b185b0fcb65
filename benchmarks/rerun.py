"""What does a run cost in which nothing has changed, beyond an empty Prefect flow?"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, run, smoke_run

SMALL = ["dataset.digits.train_rows=64", "dataset.digits.held_out_rows=24", "train.max_steps=10", "train.save_steps=5"]
EMPTY = """
from flows.cli import prefect_defaults
prefect_defaults()
from flows.temporary_server import prefect_api
wait = prefect_api()
from prefect import flow
@flow
def nothing(): pass
wait()
nothing()
"""


def figures() -> Iterator[Figure]:
    """``sft run smoke`` for the second time, against a flow that does nothing with the same temporary server."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command, environment = smoke_run(folder, SMALL)
        first = run(command, environment, folder)
        again = min((run(command, environment, folder) for _ in range(3)), key=lambda ran: ran.seconds)
        empty = min(
            (run([sys.executable, "-c", EMPTY], environment, folder) for _ in range(3)), key=lambda r: r.seconds
        )
    beyond = again.seconds - empty.seconds
    yield Figure("unchanged rerun", again.seconds, empty.seconds, "s (empty flow)", "≤ 5 s beyond", beyond <= 5)
    yield Figure("peak memory of a whole run", first.peak, empty.peak, "MB, all processes (empty flow)", "none", True)
