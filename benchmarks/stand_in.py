"""The stand-in for Modal of the tests, for benchmarks of what goes through Modal's client."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.modal_server import ModalServer


@contextmanager
def stand_in() -> Iterator[tuple[ModalServer, dict[str, str], Path]]:
    """(the server, the environment of a command that uses it, a folder for the command's state)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = ModalServer(folder)
        server.start()
        token = {"MODAL_SERVER_URL": server.url, "MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}
        places = {"SFT_HOME": f"{name}/state", "PREFECT_HOME": f"{name}/prefect", "PYTHONWARNINGS": "ignore"}
        try:
            yield server, {**os.environ, **token, **places}, folder
        finally:
            server.stop()
