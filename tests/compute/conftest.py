"""A stand-in for Modal with nothing deployed, and one with everything: deployed once, copied for each test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import looks, modal_runs
from tests.support.modal_runs import DEPLOY, environment, write_wheels
from tests.support.modal_server import ModalServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModalServer]:
    """A server with nothing deployed."""
    with modal_runs.serving(tmp_path / "server") as server:
        yield server


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> ModalServer:
    """What a server has once everything was deployed; it serves no longer."""
    home = tmp_path_factory.mktemp("deployment")
    with modal_runs.serving(home / "server") as server:
        command = [sys.executable, "-c", DEPLOY, *write_wheels(home)]
        process = subprocess.run(command, cwd=home, env=environment(server, home), capture_output=True, text=True)
        assert process.returncode == 0, process.stdout + process.stderr
    return server


@pytest.fixture
def deployed(server: ModalServer, home: Path, deployment: ModalServer) -> Iterator[ModalServer]:
    """A server with everything deployed; the wheels were uploaded from a machine."""
    server.take_over(deployment)
    write_wheels(home)
    with looks.lent(server.volumes_folder / "vo-paddleocr-vl-outputs"):
        yield server
