"""Trackers for tests: MLflow's own server on loopback, and readers of what was sent.

The readers run in the environment of the clients (``make trackers``): MLflow is asked through its client, W&B's and
SwanLab's files are read as they write them, records in LevelDB's log format (https://github.com/google/leveldb/blob/main/
doc/log_format.md) behind a header of seven bytes, each a protobuf message of the package's own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from sft.tracking import PROJECT, interpreter

SERVER = PROJECT / ".venv-mlflow" / "bin" / "mlflow"
CLIENTS = pytest.mark.skipif(interpreter() is None, reason="no clients of the trackers: make trackers")
SERVED = pytest.mark.skipif(not SERVER.is_file(), reason="no MLflow server: make tracking-server")


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class MlflowServer:
    """``mlflow server`` with a database and artifacts in ``folder``; made once, it can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        command = [str(SERVER), "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/db.sqlite"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        variables = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=variables, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                assert time.monotonic() < end, (self.folder / "log.txt").read_text()
                time.sleep(0.2)

    def stop(self) -> None:
        """End it with all its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def shown(self, name: str) -> dict[str, Any]:
        """What MLflow's client says of the experiment and of the registered model ``name``."""
        return read("mlflow", self.url, name)


def read(reader: str, *args: str) -> dict[str, Any]:
    """What the reader of that name says."""
    command = [str(interpreter()), "-W", "ignore", str(Path(__file__).with_name("readers.py")), reader, *args]
    variables = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=variables)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said
