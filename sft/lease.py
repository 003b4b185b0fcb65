"""The lease of a training: at most one holder, who renews a heartbeat.

``lease.json`` on the outputs volume names the call that holds it and is renewed while the holder lives. On one
machine a lock on ``lease.lock`` decides as well: the kernel frees it with the holder's last process, so that a
killed training gives the lease back at once, and one whose trainer still runs does not.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sft import records
from sft.errors import LeaseHeld

RENEWED = 5.0  # seconds between two heartbeats
EXPIRED = 60.0  # seconds without a heartbeat after which a lease counts as left behind
FILE = "lease.json"


def holder(folder: Path) -> dict[str, Any] | None:
    """Who holds the lease: ``{"call_id", "heartbeat"}`` (Unix time in seconds), or None."""
    lease = records.read_json(folder / FILE)
    return lease if isinstance(lease, dict) else None


@contextmanager
def hold(
    folder: Path, call_id: str, *, machine_lock: bool = True, is_running: Callable[[str], bool] = lambda call_id: True
) -> Iterator[list[int]]:
    """Hold the lease of ``folder`` while the block runs; yields the descriptors that child processes must inherit.

    Args:
        machine_lock: decide by the kernel's lock (all callers are on one machine); otherwise by the heartbeat.
        is_running: asked about a holder whose heartbeat is fresh: a call that has ended holds nothing.
    Raises:
        LeaseHeld: another call holds it; ``value`` is that call's id.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lease.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if machine_lock:
            _lock(descriptor, folder)
        else:
            _refuse_if_alive(folder, call_id, is_running)
        stop = threading.Event()
        _renew(folder, call_id)
        renewer = threading.Thread(target=_keep_renewing, args=(folder, call_id, stop), daemon=True)
        renewer.start()
        try:
            yield [descriptor] if machine_lock else []
        finally:
            stop.set()
            renewer.join()
            (folder / FILE).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _held(folder) from None


def _refuse_if_alive(folder: Path, call_id: str, is_running: Callable[[str], bool]) -> None:
    lease = holder(folder)
    if lease is None or lease.get("call_id") == call_id:
        return
    fresh = time.time() - float(lease.get("heartbeat", 0)) < EXPIRED
    if fresh and is_running(str(lease.get("call_id"))):
        raise _held(folder)


def _held(folder: Path) -> LeaseHeld:
    lease = holder(folder) or {}
    call = str(lease.get("call_id", ""))
    return LeaseHeld("another call trains this already", where=str(folder), value=call, remedy=f"attach to call {call}")


def _renew(folder: Path, call_id: str) -> None:
    records.write_json(folder / FILE, {"call_id": call_id, "heartbeat": time.time()})


def _keep_renewing(folder: Path, call_id: str, stop: threading.Event) -> None:
    while not stop.wait(RENEWED):
        _renew(folder, call_id)
