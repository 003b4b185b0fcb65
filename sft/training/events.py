"""TensorBoard's event files, beside a training's other records: its curve and the scores of its evaluation."""

from __future__ import annotations

import socket
import sys
import time
import uuid
from pathlib import Path

from sft.store.reloads import through_a_reload

EVENTS = "tensorboard"  # folder below a training's
# Events that a resumed training repeats are dropped by TensorBoard itself: a session start stands before them.
# Its data server (load_fast) keeps every file open, and then Modal shows a volume's new files no more.
TENSORBOARD = [sys.executable, "-m", "tensorboard.main", "--purge_orphaned_data", "true", "--load_fast", "false"]
TENSORBOARD += ["--reload_interval", "15"]  # seconds
VERSION = "brain.Event:2"  # what the first event of a file says (tensorboard/summary/writer/event_file_writer.py)


class Board:
    """Writes scalars into a file of its own in ``folder``; ``start`` is the step that a training goes on from, which
    is not repeated. The file is opened for each event: Modal refuses to reload a volume of which one is open.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        # TensorBoard reads the files of a folder by name, and never again one that stands before the one it is at: of
        # two that were made in the same second the later one has to come last, too.
        made = f"{int(now):010d}.{int(now % 1 * 1e9):09d}"
        self._path = folder / f"events.out.tfevents.{made}.{socket.gethostname()}.{uuid.uuid4().hex[:8]}"
        session = SessionLog(status=SessionLog.START)
        self._write(
            Event(wall_time=now, file_version=VERSION).SerializeToString(),
            Event(wall_time=now, step=start + 1, session_log=session).SerializeToString(),  # drops that step, too
        )

    def add(self, step: int, values: dict[str, float]) -> None:
        """Scalars of one step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._write(Event(wall_time=time.time(), step=step, summary=summary).SerializeToString())

    def _write(self, *events: bytes) -> None:
        through_a_reload(lambda: self._append(*events))

    def _append(self, *events: bytes) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        with self._path.open("ab") as file:
            records = RecordWriter(file)
            for event in events:
                records.write(event)
