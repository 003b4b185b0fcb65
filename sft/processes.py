"""Processes on one machine: children that must not outlive their parent, and one at a time at a folder."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """For ``preexec_fn``: the kernel sends the child SIGKILL when its parent dies, also by SIGKILL (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """SIGKILL to a process and all that descend from it: a launcher's workers would hold its pipe open for ever."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    doomed = [pid]
    for one in doomed:  # grows while it is walked
        doomed += children.get(one, [])
    for one in doomed:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)


def here() -> dict[str, Any]:
    """This process, as a note that :func:`is_gone` understands."""
    return {"pid": os.getpid(), "born": _born(os.getpid()), "host": socket.gethostname()}


def is_gone(noted: dict[str, Any]) -> bool:
    """Is the process of the note one of this machine that does not live any more?"""
    if noted.get("host") != socket.gethostname():
        return False
    return not noted.get("born") or _born(noted["pid"]) != noted["born"]


def _born(pid: int) -> str:
    """When the process started (clock ticks since boot), so that a number used again is no sign of life."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@contextmanager
def alone_at(target: Path) -> Iterator[None]:
    """No other process of this machine works on ``target`` while the block runs; the kernel frees the lock."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".lock-{target.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
