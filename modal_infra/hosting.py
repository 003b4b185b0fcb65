"""The container that hosts the flow: it starts the flow's process, looks after it, and keeps Prefect's database.

The flow works in a process of its own, as on a laptop, and asks Modal through the client: no volume is mounted here, so
that none has to be committed. Modal takes the machine away (SIGINT), ends the container (SIGTERM) or cancels the input
(``InputCancellation``). Only the last is a wish that the training ends: then the flow is told to stop, and stops it as
Ctrl-C does. Otherwise the flow is killed and the training goes on; Modal starts the same input in another container
(modal.com/docs/guide/preemption), whose flow attaches to it.

Without a Prefect of the team's the flow starts one of its own. Its database works on the container's disk; a copy goes
to the outputs volume now and then and at the end. A volume is no place for a database that is written to: commits and
the locks of several containers know nothing of each other.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from modal.exception import InputCancellation

from modal_infra.names import HOST
from modal_infra.volumes import volume
from sft.errors import JobDied, SftError, to_wire
from sft.foreign import as_ours
from sft.processes import die_with_parent
from sft.store import records
from sft.store.usage import FOLDER as USAGE
from sft.store.usage import Usage

PROGRAM = "cli.hosted"  # the flow's process; this room may not import it
PLACE = "sft/hosted"  # below the temporary folder: all that the flow keeps on the container's disk
DATABASES = "prefect"  # on the outputs volume: NAME.db
KEPT = 120.0  # seconds between two copies of the database
NOTED = 60.0  # seconds between two notes of what this container uses
STOP = signal.SIGUSR2  # tells the flow to stop its job; not SIGINT, which Modal may send to all processes
PATIENCE = 25.0  # seconds that a flow has for that: it asks Modal to end the training, and tells Prefect
LOOK = 0.5  # seconds between two looks at the flow's process


class NextContainer(Exception):
    """The time of this attempt is over; Modal starts the input again, and its flow attaches to the training."""


def host_flow(request: dict[str, Any], call_id: str, seconds: float) -> dict[str, Any]:
    """Run the flow to its end; its outcome as plain data.

    Args:
        request: what :mod:`cli.hosted` reads, with ``name``, which the database is kept under.
        call_id: of this call; the same in the container that replaces this one.
        seconds: how long this container may work on it.
    Raises:
        NextContainer: they are over; the training goes on.
        KeyboardInterrupt: the container is to end; the training goes on.
        InputCancellation: the call was cancelled; the flow has stopped its training.
    """
    place = Path(tempfile.gettempdir()) / PLACE
    for name in ("work", "state", "prefect"):
        (place / name).mkdir(parents=True, exist_ok=True)
    records.write_json(place / "request.json", {**request, "call_id": call_id})
    (place / "outcome.json").unlink(missing_ok=True)
    own = "" if os.environ.get("PREFECT_API_URL") else f"{DATABASES}/{request['name']}.db"
    database = place / "prefect" / "prefect.db"
    if own:
        _fetch(own, database)
    signal.signal(signal.SIGTERM, _as_interrupt)
    process = _start(place)
    usage = Usage.now(call_id, HOST, HOST, part=secrets.token_hex(4))
    try:
        _watch(process, own, database, usage, seconds)
    except InputCancellation:
        _stop(process)
        raise
    finally:
        if process.poll() is None:  # the machine goes, or the time is over: as if a laptop's process had been killed
            process.kill()
            process.wait()
        _note(usage, ended=True)
        if own:
            _keep(own, database)
    outcome: dict[str, Any] | None = records.read_json(place / "outcome.json")
    if outcome is None:
        text, remedy = "the flow's process ended without a word", "see the call's log; run again: nothing is lost"
        died = JobDied(text, where=call_id, value=f"exit code {process.returncode}", remedy=remedy)
        return {"ok": False, "error": to_wire(died)}
    return outcome


def _start(place: Path) -> subprocess.Popen[bytes]:
    """The flow's process, which finds the code and Modal's client where this one does."""
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "SFT_HOME": str(place / "state"),
        "PREFECT_HOME": str(place / "prefect"),
    }
    command = [sys.executable, "-P", "-m", PROGRAM, str(place)]
    return subprocess.Popen(
        command, cwd=place / "work", env=variables, start_new_session=True, preexec_fn=die_with_parent
    )


def _watch(process: subprocess.Popen[bytes], own: str, database: Path, usage: Usage, seconds: float) -> None:
    """Return when the process has ended; keep its database now and then, and note that this container works."""
    began = kept = noted = time.monotonic()
    _note(usage)
    while process.poll() is None:
        time.sleep(LOOK)
        if time.monotonic() - noted > NOTED:
            noted = time.monotonic()
            _note(usage)
        if time.monotonic() - began > seconds and not (database.parents[1] / "outcome.json").exists():
            raise NextContainer("the longest time of one container is over; the next one goes on with the same run")
        if own and time.monotonic() - kept > KEPT:
            kept = time.monotonic()
            _keep(own, database)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let the flow stop its training, and end."""
    process.send_signal(STOP)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


def _fetch(own: str, database: Path) -> None:
    """Bring the database of earlier runs; there may be none."""
    with suppress(FileNotFoundError):
        records.write_hashed(volume("outputs").read_file(own), database)


def _keep(own: str, database: Path) -> None:
    """Put a consistent copy of the database on the outputs volume. What fails is tried again the next time: what a run
    came to stands in the ledger as well.
    """
    if not database.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        try:
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            with volume("outputs").batch_upload(force=True) as batch:
                batch.put_file(copy, own)
        except Exception as error:  # of SQLite, of Modal, of the disk: no run fails because of it
            print(f"Prefect's database could not be kept: {told(error)}", flush=True)


def _note(usage: Usage, *, ended: bool = False) -> None:
    """Note on the outputs volume what this container uses, as jobs do (:func:`sft.store.usage.metered`); no volume is
    mounted here.
    """
    said = usage.model_copy(update={"seen": time.time(), "ended": ended}).model_dump_json().encode()
    try:
        with volume("outputs").batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(said), f"{USAGE}/{usage.file}")
    except Exception as error:  # of Modal: no run fails because of it
        print(f"what this container uses could not be noted: {told(error)}", flush=True)


def told(error: Exception) -> str:
    """An error in a line."""
    ours = as_ours(error) or error
    return str(ours) if isinstance(ours, SftError) else f"{type(ours).__name__}: {ours}"


def request_of(variable: str) -> dict[str, Any]:
    """The request that a deployment carries for its nights, in an environment variable."""
    said: dict[str, Any] = json.loads(os.environ[variable])
    return said
