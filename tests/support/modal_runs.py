"""The command line against the stand-in server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sft.training.wheels import WHEELS
from tests.support.modal_server import ModalServer

DEPLOY = """
import sys
from pathlib import Path
from cli.deploying import deploy_all, put_wheel
for wheel in sys.argv[1:]: put_wheel(Path(wheel))
deploy_all(print)
"""
SFT = str(Path(sys.executable).with_name("sft"))


@contextmanager
def serving(folder: Path) -> Iterator[ModalServer]:
    """A server with nothing deployed, while the block runs."""
    server = ModalServer(folder)
    folder.mkdir()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def write_wheels(home: Path) -> list[str]:
    """Small files under the names of the wheels: on this machine nothing installs them."""
    for wheel in WHEELS.values():
        (home / wheel.name).write_bytes(b"a wheel of " + wheel.version.encode())
    return [wheel.name for wheel in WHEELS.values()]


def environment(server: ModalServer, home: Path) -> dict[str, str]:
    """A token, the stand-in server's address, and a state folder of its own."""
    return {
        **os.environ,
        "MODAL_SERVER_URL": server.url,
        "MODAL_TOKEN_ID": "ak-test",
        "MODAL_TOKEN_SECRET": "as-test",
        "MODAL_CONFIG_PATH": str(home / "modal.toml"),
        "SFT_HOME": str(home / "state"),
        "PYTHONWARNINGS": "ignore",
    }


def sft(
    server: ModalServer, home: Path, *args: str, timeout: float = 300, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; ``more`` are further variables."""
    variables = {**environment(server, home), **(more or {})}
    return subprocess.run([SFT, *args], cwd=home, env=variables, capture_output=True, text=True, timeout=timeout)
