"""Notes that processes of this machine leave while they work, so that whoever comes later knows which were killed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sft.store import records


def here() -> dict[str, Any]:
    """What a note says of the process that leaves it, for :func:`left_behind`."""
    return {"pid": os.getpid(), "born": _born(os.getpid()), "host": socket.gethostname()}


def left_behind(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Notes (JSON files with what :func:`here` said) of processes of this machine that do not live any more."""
    for note in sorted(folder.glob("*.json")):
        said = records.read_json(note) or {}
        if said.get("host") == socket.gethostname() and (not said.get("born") or _born(said["pid"]) != said["born"]):
            yield note, said


def _born(pid: int) -> str:
    """When the process started (clock ticks since boot), so that a number used again is no sign of life."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
