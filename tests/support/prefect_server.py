"""A real Prefect server, with its UI and its worker, in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from cli.temporary_server import free_port, lay_tables

ROOT = Path(__file__).parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))
# A program: an empty flow with the temporary server, as ``sft run`` starts them.
EMPTY_FLOW = """
from cli.run import prefect_defaults
prefect_defaults()
from cli.temporary_server import prefect_api
wait = prefect_api()
from prefect import flow
@flow
def nothing(): return 1
wait()
assert nothing() == 1
"""


class Server:
    """A Prefect server with its UI, a database and a worker of its own, as the README sets them up."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.home, self.root = home, f"http://127.0.0.1:{port}"
        self.variables = {
            **os.environ,
            "PREFECT_API_URL": f"{self.root}/api",
            "PREFECT_HOME": str(home / "prefect"),
            "PYTHONWARNINGS": "ignore",
        }
        lay_tables(f"sqlite+aiosqlite:///{home}/prefect/prefect.db")  # the server would take nine seconds for them
        self.processes = [self.start("server", "start", "--port", str(port))]

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{args[0]}.txt").open("w") as log:
            return subprocess.Popen([PREFECT, *args], cwd=self.home, env=self.variables, stdout=log, stderr=log)

    def prefect(self, *args: str) -> None:
        command = [PREFECT, "--no-prompt", *args]
        done = subprocess.run(command, cwd=ROOT, env=self.variables, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """What the API answers. A server that is busy says 503, and Prefect's client asks again, too."""
        for _ in range(10):
            answer = httpx.request(method, f"{self.root}/api{path}", json=body or None, timeout=60)
            if answer.status_code != 503:
                break
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)

    def wait(self) -> None:
        """Return when the server answers."""
        end = time.monotonic() + 120
        while True:
            try:
                self.ask("GET", "/health")
                return
            except httpx.HTTPError:
                assert time.monotonic() < end, (self.home / "server.txt").read_text()
                time.sleep(0.2)
