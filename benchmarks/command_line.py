"""How long does the command line take to say hello, and that what was typed is wrong?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.harness import Figure, seconds, turns

# One of each kind: no profile, no dataset, no page, no token, and what needs the client of Modal to say so.
WRONG = ("run nosuch", "run full", "infer nosuch.png", "publish smoke noslash", "deploy nosuch", "status full")
BARE = "import typer, rich.table, pydantic, httpx, yaml"  # what reads a command line and checks a configuration
GOAL = 4.0  # of BARE's time: on a quiet machine with two cores less than two seconds


def figures() -> Iterator[Figure]:
    """``sft --help``; then wrong input of each kind, against an interpreter that imports what reads and checks it."""
    command = str(Path(sys.executable).with_name("sft"))
    helped = seconds(lambda: subprocess.run([command, "--help"], capture_output=True, check=True))
    empty = seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    yield Figure("sft --help", helped, empty, "s (python -c pass)", "≤ 0.5 s", helped <= 0.5)
    with tempfile.TemporaryDirectory() as folder:
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("MODAL_", "PREFECT_"))}
        environment = {**outside, "HOME": folder, "SFT_HOME": f"{folder}/state", "PREFECT_HOME": f"{folder}/prefect"}
        environment["MODAL_CONFIG_PATH"] = f"{folder}/none.toml"

        def refused(*typed: str) -> None:
            code = subprocess.run([command, *typed], cwd=folder, env=environment, capture_output=True).returncode
            if code not in (1, 2):
                raise RuntimeError(f"sft {' '.join(typed)} ended with {code}")

        imports = partial(subprocess.run, [sys.executable, "-c", BARE], check=True)
        for typed in WRONG:
            taken = turns(partial(refused, *typed.split()), imports, repeats=5)
            ours, bare = taken.ours.median, taken.reference.median
            low, high = taken.spread()  # of rates; durations are their inverse
            spread = (1 / high, 1 / low)
            yield Figure(f"sft {typed}", ours, bare, "s (imports alone)", f"≤ {GOAL:g}", ours / bare <= GOAL, spread)
