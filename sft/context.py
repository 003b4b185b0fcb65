"""What a body that runs where the GPU is is given, and how it tells whoever follows it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sft.store.lease import Held, Shared, hold
from sft.store.shards.unpacking import Unpacked, abandoned
from sft.store.usage import Usage, metered
from sft.store.volumes import Volumes

EVENT = "@sft "  # a log line that starts with this is an event as JSON, for whoever follows the job


@dataclass(frozen=True)
class Context:
    """What a job is given besides its arguments.

    Attributes:
        volumes: where the three volumes are mounted.
        call_id: the call that runs the job.
        commit: makes what was written to the volumes durable and visible, and is patient: a result depends on it.
            Nothing to do on one machine.
        try_commit: the same, but gives up soon, since the next one takes all with it; None: as ``commit``.
        say: writes one line to the job's log.
        child_files: file descriptors that a process started by the job must inherit.
        shared: how to agree with other machines on a lease; None where all jobs run on this one.
        part: tells apart who writes for the same call: all inputs of a ``.map`` have one call id at Modal, and an input
            that is started again elsewhere has the one that it had.
    """

    volumes: Volumes
    call_id: str
    commit: Callable[[], None] = lambda: None
    try_commit: Callable[[], None] | None = None
    say: Callable[[str], None] = print
    child_files: list[int] = field(default_factory=list)
    shared: Shared | None = None
    part: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def writer(self) -> str:
        """Part of the name of a file that nobody else writes."""
        return f"{self.call_id or 'call'}-{self.part}"

    def lease(self, folder: Path) -> AbstractContextManager[Held]:
        """Hold the lease of ``folder`` (see :func:`sft.store.lease.hold`)."""
        return hold(folder, self.call_id, self.shared)

    def metered(self, job: str, gpu: str, identity: str = "") -> AbstractContextManager[None]:
        """Note on the outputs volume what the call uses (see :func:`sft.store.usage.metered`)."""
        return metered(self.volumes.outputs, Usage.now(self.call_id, job, gpu, identity, self.part))

    def scratch(self, folder: Path) -> Path:
        """An empty folder for what only this call needs: ``folder``, or one on a container's own disk instead."""
        place = folder if self.shared is None else Path(tempfile.gettempdir()) / "sft" / folder.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place

    @cached_property
    def unpacked(self) -> Unpacked:
        """Packed images as files, until :meth:`close`: on a container's own disk; on one machine in the data volume."""
        if self.shared is not None:
            folder = Path(tempfile.gettempdir()) / "sft" / "unpacked"
        else:
            folder = self.volumes.data / ".unpacked"
        abandoned(folder)
        return Unpacked(folder / f"{os.getpid()}-{self.part}")

    def close(self) -> None:
        """Remove what only the job needed."""
        if "unpacked" in self.__dict__:
            self.unpacked.close()

    def event(self, kind: str, **values: Any) -> None:
        """Tell whoever follows the job."""
        self.say(EVENT + json.dumps({"event": kind, "time": round(time.time(), 3), **values}))


def read_event(line: str) -> dict[str, Any] | None:
    """The event of a log line, or None for ordinary output."""
    if not line.startswith(EVENT):
        return None
    try:
        event = json.loads(line[len(EVENT) :])
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
