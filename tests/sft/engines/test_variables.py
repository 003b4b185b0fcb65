"""A real trainer changes its environment beside its threads, and never moves it under them."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute.local import LocalCompute
from sft.context import Context
from sft.engines import ENGINES
from sft.engines.base import STEP_VARIABLE, Folders
from sft.jobs.train import train
from tests.support.runs import short_training

# Told by the interpreter itself, whichever package does it: os.environ calls os.putenv for each change.
TOLD = """
import os
plain = os.putenv
def told(key, value):
    known = os.fsdecode(key) in os.environ
    print("replaced" if known else "added", "variable", os.fsdecode(key), flush=True)
    plain(key, value)
os.putenv = told
"""


def test_paddleformers_adds_no_variable_once_it_trains(
    state: LocalCompute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one is added, the C library moves the environment's table, and a thread in getenv reads what was freed."""
    (tmp_path / "sitecustomize.py").write_text(TOLD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log: list[str] = []
    args = short_training(state, steps=2).model_copy(update={"identity": "e" * 64})
    train(args, Context(state.volumes, "call-1", say=log.append))
    (begun,) = (number for number, line in enumerate(log) if "***** Running training *****" in line)
    assert any(line.startswith("added variable") for line in log[:begun]), "it is heard"
    later = {line for line in log[begun:] if " variable " in line}
    assert later == {f"replaced variable {name}" for name in STEP_VARIABLE}


def test_erniekit_has_it_from_its_start_too(tmp_path: Path) -> None:
    spec = short_training(LocalCompute(tmp_path / "state")).spec
    command = ENGINES["erniekit"].command(spec.model_copy(update={"device": "gpu"}), Folders(*[tmp_path] * 5), None)
    assert STEP_VARIABLE.items() <= command.environment.items()
