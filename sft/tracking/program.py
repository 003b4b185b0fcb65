"""What the modules of the trackers share when they run, in the environment that has the clients.

The request (JSON) has ``target``, ``document`` (:class:`sft.tracking.document.Document`; null: nothing but the champion
has changed), ``files`` (name → path of what becomes an artifact) and ``champion`` (``number``, ``name``, ``identity``;
or null). The answer has ``url``.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TAG = "sft.identity"  # by which a run is found again
NOT_INSTALLED, UNREACHABLE, REFUSED = 3, 4, 5  # exit codes
REACH = 10.0  # seconds until an address that does not answer is given up


def main(send: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Read the request, send, write the answer: what ``send`` returns, or ``error``. Clients print what they like."""
    asked, answer = map(Path, sys.argv[1:3])
    try:
        said = send(json.loads(asked.read_text()))
    except ImportError as error:
        _end(answer, error, NOT_INSTALLED)
    except (ConnectionError, TimeoutError, socket.gaierror) as error:
        _end(answer, error, UNREACHABLE)
    except Exception as error:  # whatever a client raises
        _end(answer, error, REFUSED)
    else:
        answer.write_text(json.dumps(said))


def reach(address: str) -> None:
    """Can the address be reached at all? Clients ask again for minutes before they say that it cannot.

    Behind a proxy only the proxy can tell, and nothing is asked.

    Raises:
        OSError: it cannot.
    """
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(address)
    if not parts.hostname or (getproxies().get(parts.scheme) and not proxy_bypass(parts.hostname)):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), REACH).close()
    except OSError as error:
        raise ConnectionError(f"{parts.hostname}:{port}: {error}") from None


@contextmanager
def files(offline: bool) -> Iterator[str]:
    """The folder for a client's own files: the working directory where nothing else is made, else one that goes."""
    if offline:
        yield os.getcwd()
        return
    with tempfile.TemporaryDirectory(prefix="sft-client-", ignore_cleanup_errors=True) as folder:
        yield folder


def send_by(
    request: dict[str, Any], client: str, online: bool, address: str, run: Callable[[Any, dict[str, Any], str], str]
) -> dict[str, Any]:
    """Let ``run`` make or go on with the training's run.

    Args:
        client: the module of the client; ``address``: of the server, where it works ``online``.
        run: takes the client, the request and a folder for the client's own files; returns where the run is shown.

    Raises:
        ImportError: the client is not installed.
        ConnectionError: nobody answers.
    """
    if not request["document"]:
        return {"url": ""}  # a champion by hand is no news of a training
    module = importlib.import_module(client)
    if online:
        reach(address)
    with files(offline=not online) as folder:
        return {"url": run(module, request, folder)}


def rows(document: dict[str, Any]) -> list[tuple[int, float, dict[str, float]]]:
    """(step, time, values) of curve and dev rows together, each step once, in order."""
    merged: dict[int, tuple[float, dict[str, float]]] = {}
    for prefix, lines in (("train", document["curve"]), ("dev", document["dev"])):
        for line in lines:
            values = {f"{prefix}/{key}": value for key, value in line.items() if key not in ("step", "time")}
            when, known = merged.get(int(line["step"]), (line["time"], {}))
            merged[int(line["step"])] = (when, known | values)
    return [(step, *merged[step]) for step in sorted(merged)]


def _end(answer: Path, error: Exception, code: int) -> None:
    answer.write_text(json.dumps({"error": " ".join(f"{type(error).__name__}: {error}".split())}))
    traceback.print_exc()
    sys.exit(code)
