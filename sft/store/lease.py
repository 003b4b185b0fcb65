"""The lease of a training: at most one holder.

``lease.json`` names the call that holds it and is renewed while the holder lives. Who may take it is decided

- on one machine by the kernel: a lock on ``lease.lock``, freed with the holder's last process, so that a killed
  training gives the lease back at once, and one whose trainer still runs does not;
- between machines by asking whether the holder's call still runs. A volume has no lock: whoever takes the lease
  publishes it, waits, and looks whether another has published a different one in the meantime.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sft.errors import LeaseHeld
from sft.processes import repeating
from sft.store import records

RENEWED = 5.0  # seconds between two heartbeats
SETTLED = 2.0  # seconds after which a competitor's lease must be visible: his look and his publishing are ms apart
FILE = "lease.json"
LOCK = "lease.lock"


@dataclass(frozen=True)
class Shared:
    """How machines that share a volume agree.

    Attributes:
        refresh: shows what others have published.
        publish: shows others what was written here.
        is_running: does that call still run? In doubt yes.
    """

    refresh: Callable[[], None]
    publish: Callable[[], None]
    is_running: Callable[[str], bool]


def holder(folder: Path) -> dict[str, Any] | None:
    """Who holds the lease: ``{"call_id", "heartbeat"}`` (Unix time in seconds), or None."""
    lease = records.read_json(folder / FILE)
    return lease if isinstance(lease, dict) else None


def is_held(folder: Path, call_id: str, shared: Shared | None = None) -> bool:
    """Does another call than ``call_id`` hold the lease, and still run? What a killed holder has left is no lease."""
    lease = holder(folder)
    if lease is None or lease.get("call_id") == call_id:
        return False
    if shared is not None:
        return shared.is_running(str(lease.get("call_id", "")))
    try:
        for descriptor in _lock(folder):
            os.close(descriptor)
    except LeaseHeld:
        return True
    return False


@contextmanager
def hold(folder: Path, call_id: str, shared: Shared | None = None) -> Iterator[list[int]]:
    """Hold the lease of ``folder`` while the block runs; yields the descriptors that child processes must inherit.

    Args:
        shared: how to agree with other machines; None where all callers are on this one.
    Raises:
        LeaseHeld: another call holds it; ``value`` is that call's id.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptors = _lock(folder) if shared is None else []
    try:
        if shared is not None:
            _agree(folder, call_id, shared)
        _renew(folder, call_id)
        try:
            with repeating(RENEWED, lambda: _renew(folder, call_id)):
                yield descriptors
        finally:
            (folder / FILE).unlink(missing_ok=True)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _lock(folder: Path) -> list[int]:
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _held(folder) from None
    return [descriptor]


def _agree(folder: Path, call_id: str, shared: Shared) -> None:
    shared.refresh()
    lease = holder(folder) or {}
    other = str(lease.get("call_id", call_id))
    if other != call_id and shared.is_running(other):
        raise _held(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _renew(folder, call_id)
    shared.publish()
    time.sleep(SETTLED)
    shared.refresh()
    if (holder(folder) or {}).get("call_id") != call_id:
        raise _held(folder)


def _held(folder: Path) -> LeaseHeld:
    lease = holder(folder) or {}
    call = str(lease.get("call_id", ""))
    return LeaseHeld("another call trains this already", where=str(folder), value=call, remedy=f"attach to call {call}")


def _renew(folder: Path, call_id: str) -> None:
    records.write_json(folder / FILE, {"call_id": call_id, "heartbeat": time.time()})
