"""Python code run by the interpreter that has torch, with this project on its path."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sft.models.second_reader import PROJECT, interpreter

installed = pytest.mark.skipif(
    interpreter() is None, reason="torch and transformers are not installed: make torch does it"
)


def says(body: str, *arguments: Path | str) -> Any:
    """What the code prints last, as JSON; ``arguments`` are ``sys.argv[1:]``."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    command = [str(interpreter()), "-P", "-W", "ignore", "-c", body, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])
