"""Runs whose flow is hosted at Modal: the stand-in's containers run the real entrypoint, and nobody waits for them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from modal_infra.names import HOST, NIGHT
from tests.compute.test_modal import trainings, write_wheels
from tests.support import modal_runs
from tests.support.modal_runs import SFT, environment, sft
from tests.support.modal_server import Container, ModalServer
from tests.support.mounting import CAN_MOUNT

pytestmark = [
    pytest.mark.skipif(not CAN_MOUNT, reason="unshare --mount is not permitted here: volumes cannot be mounted"),
    pytest.mark.usefixtures("prefect_server"),
]
DEPLOY = """
import sys
from pathlib import Path
from cli.deploying import deploy_all, put_wheel
from cli.hosting import deploy_night
for wheel in sys.argv[1:]: put_wheel(Path(wheel))
deploy_all(print)
deploy_night(print, None, "", "")
"""
SETTINGS = [
    "compute=modal",
    "modal.gpu=none",
    "dataset.digits.train_rows=400",
    "dataset.digits.held_out_rows=32",
    "train.logging_steps=1",
    "promote.check_rows=4",
    "promote.task_worse=1",
    "promote.runaway=1",
    "promote.empty=1",
    "promote.cut=1",
]


@pytest.fixture
def server(tmp_path: Path, home: Path) -> Iterator[ModalServer]:
    """A server with everything deployed, what hosts flows too."""
    with modal_runs.serving(tmp_path / "server") as server:
        command = [sys.executable, "-c", DEPLOY, *write_wheels(home)]
        process = subprocess.run(command, cwd=home, env=environment(server, home), capture_output=True, text=True)
        assert process.returncode == 0, process.stdout + process.stderr
        assert "no nights" in process.stdout
        assert "USD an hour" in process.stdout
        yield server


def options(*more: str) -> list[str]:
    return [part for setting in [*SETTINGS, *more] for part in ("--set", setting)]


def wait_until(seen: Callable[[], Any], server: ModalServer, seconds: float = 180) -> Any:
    """What ``seen`` says once it is true; the hosts' logs if it never is."""
    end = time.monotonic() + seconds
    while not (found := seen()):
        logs = "\n".join(call.log.decode() for call in hosts(server))
        assert time.monotonic() < end, logs
        time.sleep(0.05)
    return found


def hosts(server: ModalServer) -> list[Any]:
    """The calls that host a flow."""
    return [call for call in server.calls.values() if server.bound.get(call.function_id, call.function_id) == "fu-host"]


def ledger(server: ModalServer) -> list[dict[str, Any]]:
    folder = server.volumes_folder / "vo-paddleocr-vl-outputs" / "ledger"
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def working(server: ModalServer, text: str) -> Container:
    """The container of the only hosted call, once its log says ``text`` again."""
    (call,) = hosts(server)
    seen = call.log.count(text.encode())
    wait_until(lambda: call.log.count(text.encode()) > seen, server)
    container = call.container
    assert container is not None
    return container


def started_and_killed(server: ModalServer, home: Path, *settings: str) -> None:
    """``sft run --hosted``, killed as soon as Modal has the call."""
    command = [SFT, "run", "smoke", "--hosted", *options(*settings)]
    with (home / "starter.txt").open("w") as log:
        starter = subprocess.Popen(command, cwd=home, env=environment(server, home), stdout=log, stderr=log)
    end = time.monotonic() + 120
    while not hosts(server):
        assert starter.poll() is None, (home / "starter.txt").read_text()
        assert time.monotonic() < end, (home / "starter.txt").read_text()
        time.sleep(0.01)
    starter.send_signal(signal.SIGKILL)
    starter.wait()


def test_a_run_is_promoted_though_its_starter_is_killed_and_its_host_is_taken_away(
    server: ModalServer, home: Path
) -> None:
    server.secrets["prefect"] = {"PREFECT_API_URL": str(get_current_settings().api.url)}
    server.reschedules = True
    started_and_killed(server, home, "train.max_steps=60", "train.save_steps=20")
    working(server, "checkpoint-20 is complete").preempt()
    working(server, "attached to call").kill()
    wait_until(lambda: ledger(server), server)
    (entry,), (call,) = ledger(server), hosts(server)
    print(call.log.decode())
    print(json.dumps(entry, indent=1))
    assert entry["outcome"] == "completed", call.log.decode()
    assert entry["decision"] == "promoted"
