"""Which runs are alive on this machine: a run whose process was killed is found by the next one and marked Crashed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Crashed

from compute.select import state_folder
from runs.hosting import hosted
from sft.store import records
from sft.store.notes import here, left_behind


def _folder() -> Path:
    return state_folder() / "presence"


@contextmanager
def present() -> Iterator[None]:
    """Leave a note of this run's process while the block runs."""
    note = _folder() / f"{flow_run.id}.json"
    records.write_json(note, here())
    if (run := hosted()) is not None:
        run.note(flow_run=str(flow_run.id))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def sweep() -> int:
    """Mark the runs Crashed whose process is gone but whose note is still there; returns their number.

    Of a hosted run it is the one in the container before this one.
    """
    run = hosted()
    swept = _mark(run.earlier) if run is not None else 0
    for note, _ in left_behind(_folder()):
        swept += _mark(note.stem)
        note.unlink(missing_ok=True)
    return swept


def _mark(run_id: str) -> int:
    try:
        identity = UUID(run_id)
    except ValueError:
        return 0
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(identity).state
        except ObjectNotFound:  # of a server that is gone
            return 0
        if state is None or state.is_final():
            return 0
        reason = "the run's process was killed; its job, if it still ran, was left to the next run"
        client.set_flow_run_state(identity, Crashed(message=reason), force=True)
    get_run_logger().info(f"run {run_id} was killed and is marked Crashed")
    return 1
