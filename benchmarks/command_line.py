"""How long does the command line take to say hello, against an interpreter that does nothing?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, seconds


def figures() -> Iterator[Figure]:
    """``sft --help``."""
    command = str(Path(sys.executable).with_name("sft"))
    helped = seconds(lambda: subprocess.run([command, "--help"], capture_output=True, check=True))
    empty = seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    yield Figure("sft --help", helped, empty, "s (python -c pass)", "≤ 0.5 s", helped <= 0.5)
