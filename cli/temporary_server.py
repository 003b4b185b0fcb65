"""A Prefect server for one command, started beside the imports.

Prefect can start a temporary server itself, but it first imports the whole server into the flow's own process: five
seconds and 100 MB more (measured). The server is the one that Prefect runs; runs are kept in the same database, so
that ``prefect server start`` shows them later. Where there is no database yet, the one with empty tables that ``make``
left in the environment is copied: to make the tables takes Prefect nine seconds.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from sft.errors import SftError
from sft.foreign import PREFECT, as_ours
from sft.processes import die_with_parent

PATIENCE = 60.0  # seconds
ANSWERS = 5.0  # seconds that a server may take to answer
TABLES = Path(sys.prefix) / "share" / "prefect" / "empty.db"  # of any version: the server upgrades what it finds
ENVIRONMENT = {
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
    # The kinds of blocks that the UI offers take two seconds to write down; a run needs none of them. Without the
    # second setting Prefect would note that it has written them, and a real server would leave them out for good.
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0",
}


def prefect_api() -> Callable[[], None]:
    """Prefect's API: the one that is configured, or a server of our own until this process ends.

    Returns: a function that waits until the API answers; call it before the first flow.
    Raises:
        SftError: the one that is configured does not answer, or is none.
    """
    if address := os.environ.get("PREFECT_API_URL"):
        api_answers(address)  # Prefect itself takes seconds to import, and then to give up
    port = free_port()
    # Prefect's settings take two seconds to import, in which the server could be on its way.
    early = None if may_be_configured() else _start(port)
    from prefect.settings import PREFECT_API_URL

    if configured := PREFECT_API_URL.value():
        if early is not None:
            _stop(early)
        if configured != address:
            api_answers(configured)
        return lambda: None
    process = early or _start(port)
    _go_directly("127.0.0.1")
    # At exit, not before: Prefect sends its last log lines at exit, and what is registered first runs last.
    atexit.register(_stop, process)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    _OURS.append(port)
    return lambda: _wait(process, port)


_OURS: list[int] = []  # ports of servers that this process has started


def is_temporary() -> bool:
    """Do runs of this process tell a server that ends with it, and that has no UI?"""
    return bool(_OURS)


def api_answers(address: str) -> None:
    """Make sure that somebody answers at the API's address; what he answers is for Prefect to judge.

    Raises:
        SftError: nobody does, or there is nothing at an address without /api.
    """
    import httpx

    try:
        answer = httpx.get(f"{address.rstrip('/')}/health", timeout=ANSWERS)
    except (httpx.HTTPError, httpx.InvalidURL, ImportError) as error:
        if (told := as_ours(error)) is not None and isinstance(error, ImportError):
            raise told from error
        raise SftError(
            f"Prefect's API does not answer: {error}", where=f"PREFECT_API_URL={address}", remedy=PREFECT
        ) from error
    if answer.status_code == httpx.codes.NOT_FOUND and "/api" not in urlsplit(address).path:
        remedy = "the API's address ends in /api, such as http://127.0.0.1:4200/api"
        raise SftError("Prefect's API is not at this address", where=f"PREFECT_API_URL={address}", remedy=remedy)


def _go_directly(host: str) -> None:
    """No proxy of the environment stands between this process and its own server."""
    hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")  # where both are set, the first counts
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = f"{hosts},{host}" if hosts else host


def may_be_configured() -> bool:
    """Is there a sign of a Prefect server in the environment or in a profile? Prefect's settings know for sure."""
    profiles = Path(os.path.expanduser(os.environ.get("PREFECT_HOME") or "~/.prefect")) / "profiles.toml"
    return "PREFECT_API_URL" in os.environ or (profiles.exists() and "API_URL" in profiles.read_text())


def lay_tables(url: str, tables: Path = TABLES) -> None:
    """Copy the empty tables to where the SQLite database of ``url`` is to be; an existing one stays as it is."""
    place = Path(url.removeprefix("sqlite+aiosqlite:///"))
    if not url.startswith("sqlite+aiosqlite:///") or ":memory:" in url or "?" in url:
        return
    if place.exists() or not tables.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".tables-") as copy, suppress(FileExistsError):
        shutil.copyfile(tables, copy.name)
        os.link(copy.name, place)  # whole or not at all, and never over a database that another command has just made


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.temporary_server", str(port)],
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,  # Ctrl-C is for the run, which still has something to tell the server
        preexec_fn=die_with_parent,
    )


def serve(port: int) -> None:
    """The server's process: the tables, then the server until the end."""
    gc.disable()  # what is imported stays: looking for garbage in it takes a sixth of the start
    import uvicorn
    from prefect.server.api import server
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    gc.freeze()
    gc.enable()
    try:
        lay_tables(PREFECT_API_DATABASE_CONNECTION_URL.value())
    except OSError as error:
        sys.exit(f"Prefect's database cannot be made: {as_ours(error) or error}")
    uvicorn.run(server.create_app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    import httpx
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()  # prefect was imported before the address was known
    end = time.monotonic() + PATIENCE
    # One client: each would load the certificates anew, which takes the starting server's processor time (0.1 s).
    with httpx.Client(verify=False) as client:
        while time.monotonic() < end and process.poll() is None:
            with suppress(httpx.TransportError):
                if client.get(f"http://127.0.0.1:{port}/api/health").status_code == 200:
                    return
            time.sleep(0.05)
    raise SftError(
        "Prefect's temporary server does not start",
        value=f"exit code {process.poll()}",
        remedy="prefect server start, then prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api",
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
