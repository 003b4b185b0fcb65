"""Processes on one machine: children that must not outlive their parent, and one at a time at a folder."""

from __future__ import annotations

import ctypes
import fcntl
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """For ``preexec_fn``: the kernel sends the child SIGKILL when its parent dies, also by SIGKILL (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def alone_at(target: Path) -> Iterator[None]:
    """No other process of this machine works on ``target`` while the block runs; the kernel frees the lock."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".lock-{target.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
