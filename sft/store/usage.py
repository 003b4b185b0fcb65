"""What is paid for: each call of a GPU job keeps one small file on the outputs volume, whoever follows it, or nobody.

A run that is killed, detached or joined by another cannot tell what a training has cost; the training's own job can.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sft.processes import repeating
from sft.store import records

FOLDER = "usage"
NOTED = 5.0  # seconds between two notes: what a killed call has used is known so exactly


class Usage(BaseModel):
    """One call. Times are Unix times in seconds by the clock of the machine that computes.

    Attributes:
        identity: the training that it is about; empty where it is about none.
        gpu: what it is billed as.
        seen: when it was last known to work.
        ended: it will not change any more.
        part: tells apart the machines that work on one call (see :class:`sft.jobs.base.Context`).
    """

    model_config = ConfigDict(extra="ignore")

    call_id: str
    job: str
    identity: str
    gpu: str
    began: float
    seen: float
    ended: bool = False
    part: str = ""

    @classmethod
    def now(cls, call_id: str, job: str, gpu: str, identity: str = "", part: str = "") -> Usage:
        """Of a call that begins."""
        began = time.time()
        return cls(call_id=call_id, job=job, identity=identity, gpu=gpu, began=began, seen=began, part=part)

    @property
    def file(self) -> str:
        """Its file, below FOLDER: a folder for each month, names in the order of time (UTC)."""
        part = f"-{self.part}" if self.part else ""
        return f"{month(self.began)}/{stamp(self.began)}-{self.call_id}{part}.json"

    def seconds(self, since: float = 0.0) -> float:
        """How long it has worked, from ``since`` on."""
        return max(0.0, self.seen - max(self.began, since))


def month(moment: float) -> str:
    """The name of the folder of calls that began then."""
    return time.strftime("%Y-%m", time.gmtime(moment))


def stamp(moment: float) -> str:
    """What the names of the files of calls begin with that began then (UTC)."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(moment))


@contextmanager
def metered(outputs: Path, usage: Usage) -> Iterator[None]:
    """Keep the call's file on the outputs volume while the block runs."""
    place = outputs / FOLDER / usage.file
    _note(place, usage)
    try:
        with repeating(NOTED, lambda: _note(place, usage)):
            yield
    finally:
        _note(place, usage, ended=True)


def _note(place: Path, usage: Usage, *, ended: bool = False) -> None:
    with suppress(OSError):  # the volume is full: the training itself says so, and better
        records.write_json(place, usage.model_copy(update={"seen": time.time(), "ended": ended}).model_dump())
