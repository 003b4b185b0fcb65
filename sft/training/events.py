"""TensorBoard's event files, beside a training's other records: its curve and the scores of its evaluation."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

EVENTS = "tensorboard"  # folder below a training's
# Events that a resumed training repeats are dropped by TensorBoard itself: a session start stands before them.
# Its data server (load_fast) keeps every file open, and then Modal shows a volume's new files no more.
TENSORBOARD = [sys.executable, "-m", "tensorboard.main", "--purge_orphaned_data", "true", "--load_fast", "false"]
TENSORBOARD += ["--reload_interval", "15"]  # seconds


class Board:
    """Writes scalars into ``folder``; ``start`` is the step that a training goes on from, which is not repeated."""

    def __init__(self, folder: Path, start: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._writer: Any = EventFileWriter(str(folder), flush_secs=10)
        session = SessionLog(status=SessionLog.START)
        self._writer.add_event(
            Event(wall_time=time.time(), step=start + 1, session_log=session)
        )  # drops that step, too

    def add(self, step: int, values: dict[str, float]) -> None:
        """Scalars of one step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
