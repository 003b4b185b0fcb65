"""A tracker's client is a process of another environment: bounded in time, and it has no secret but its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sft.errors import InputError, SftError, TransientError
from sft.processes import die_with_parent, without_secrets
from sft.tracking import INSTALLS, PROJECT, TRACKERS, VARIABLE, Tracker, interpreter
from sft.tracking.program import NOT_INSTALLED, UNREACHABLE

TAIL = 600  # characters of an error that are shown
_NAMED = re.compile(r"^(https?|no|all)_proxy$|^(REQUESTS_CA_BUNDLE|SSL_CERT_FILE|CURL_CA_BUNDLE|NETRC)$", re.I)
# Clients that say nothing to their makers, ask nothing and look at no checkout.
QUIET = {
    **{"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"},
    **{"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "WANDB_DISABLE_GIT": "true"},
    **{"WANDB_DISABLE_CODE": "true", "WANDB_CONSOLE": "off", "SWANLAB_INTERACTIVE": "false"},
    **{"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "PYTHONWARNINGS": "ignore"},
}


def send(name: str, request: Mapping[str, Any], folder: Path, wait: float) -> dict[str, Any]:
    """Send to one tracker; returns what its module says: ``url`` where a person sees it.

    Args:
        request: ``target``, ``document``, ``files`` (name → path), ``champion``; see :mod:`sft.tracking.program`.
        folder: the client's own files go there.
        wait: seconds after which it is ended.
    Raises:
        InputError: the clients are not installed.
        TransientError: the tracker cannot be reached, or has not taken it all within ``wait``.
        SftError: it has refused.
    """
    tracker, python = TRACKERS[name], interpreter()
    if python is None:
        raise InputError(
            f"the clients of the trackers are not installed: nothing is sent to {tracker.title}",
            where=f"track.{name}",
            value=f"no Python at $SFT_TRACKERS_PYTHON or in .venv-trackers ({VARIABLE})",
            remedy=f"run {INSTALLS}, then sft track PROFILE sends what was kept",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sft-track-") as scratch:
        asked, answer, log = (Path(scratch) / part for part in ("request.json", "answer.json", "log.txt"))
        asked.write_text(json.dumps(request))
        command = [str(python), "-P", "-m", tracker.module, str(asked), str(answer)]
        code = _run(command, _environment(tracker), folder, log, wait)
        said: dict[str, Any] = json.loads(answer.read_text()) if answer.is_file() else {}
        if code == 0 and said:
            return said
        told = str(said.get("error", ""))[:TAIL] or _last(log)
    target = str(request["target"])
    later = "what it lacks is kept: the next run sends it, or sft track PROFILE"
    if code is None:
        raise TransientError(
            f"{tracker.title} has not taken everything in {wait:.0f} s", where=target, value=told, remedy=later
        )
    if code == NOT_INSTALLED:
        said_so = f"{python} lacks the client of {tracker.title}"
        raise InputError(said_so, where=f"track.{name}", value=told, remedy=f"run {INSTALLS}")
    if code == UNREACHABLE:
        raise TransientError(f"{tracker.title} cannot be reached", where=target, value=told, remedy=later)
    remedy = f"set {tracker.token} in the environment if it asks who sends; {later}"
    raise SftError(f"{tracker.title} has refused", where=target, value=told or f"exit code {code}", remedy=remedy)


def _run(command: list[str], environment: dict[str, str], folder: Path, log: Path, wait: float) -> int | None:
    """The exit code; None where it was ended because ``wait`` (s) was over. All that it started ends with it."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,  # nobody is there to answer a question
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            return process.wait(wait)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):  # it has ended, and so has all that it started
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environment(tracker: Tracker) -> dict[str, str]:
    """What the client needs: no secret of anybody else, and what the network asks for."""
    own = {name: value for name, value in os.environ.items() if name.startswith(tracker.prefix) or _NAMED.match(name)}
    if tracker.prefix == "MLFLOW_":  # a server may keep its artifacts in a bucket, which the client writes to itself
        own |= {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "DATABRICKS_"))}
    return {**QUIET, **without_secrets(os.environ), **own, "PYTHONPATH": str(PROJECT)}


def _last(log: Path) -> str:
    """The last words of a client that was ended, or that has ended itself."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][-TAIL:] if lines else ""
