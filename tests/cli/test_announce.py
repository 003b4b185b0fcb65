"""What is decided at the terminal reaches a server's event feed; a server that is silent holds up no command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.settings import get_current_settings

from compute.local import LocalCompute
from sft.store import champions, records
from sft.store.volumes import run_place

PATIENCE = 60.0  # seconds: the server writes events down every five
PROGRAM = """
import sys, time
from cli.announce import announce_decision
from sft.config import load
began = time.monotonic()
announce_decision(load("smoke", ["name=told"]).config, "sft.promoted", "a" * 64, "by hand", "hand", print)
print(f"{time.monotonic() - began:.2f}", "prefect" in sys.modules)
"""


def run(home: Path, api: str, *command: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "SFT_HOME": str(home / "state"), "PREFECT_API_URL": api, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, *command], cwd=home, env=variables, capture_output=True, text=True, timeout=120
    )


def test_a_server_that_takes_the_call_and_says_nothing_costs_a_second(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = run(home, f"http://127.0.0.1:{silent.getsockname()[1]}/api", "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    note, took = done.stdout.splitlines()
    assert note.startswith("note: no automation hears of it: Prefect's API does not answer within 1 s")
    assert float(took.split()[0]) < 2
    assert took.endswith("False"), "Prefect was not even imported"


@pytest.mark.usefixtures("prefect_server")
def test_a_rollback_is_told(home: Path) -> None:
    outputs = LocalCompute(home / "state").volumes.outputs
    for number in "12":
        model = outputs / run_place(number * 64) / "model"
        model.mkdir(parents=True)
        (model / "weights").write_text(number)
        records.write_record(model.parent, {"identity": number * 64, "model": records.manifest(model)})
        who = {"name": "told", "identity": number * 64, "model_identity": number}
        champions.swap(outputs / champions.place("told"), **who, by="hand", over="", evaluation="", fence=0)
    api = str(get_current_settings().api.url)
    done = run(home, api, "-c", "from cli.main import main; main()", "rollback", "smoke", "--set", "name=told")
    assert done.returncode == 0, done.stderr + done.stdout
    asked: dict[str, Any] = {"filter": {"event": {"name": ["sft.promoted"]}, "resource": {"id_prefix": ["sft."]}}}
    end = time.monotonic() + PATIENCE
    mine: list[dict[str, Any]] = []
    while not mine and time.monotonic() < end:
        found = httpx.post(f"{api}/events/filter", json=asked, timeout=60).json()["events"]
        mine = [event for event in found if event["payload"]["name"] == "told"]
        time.sleep(0.5)
    (event,) = mine
    assert event["resource"]["prefect.resource.id"] == f"sft.training.{'1' * 64}"
    assert event["payload"]["by"] == "rollback"
