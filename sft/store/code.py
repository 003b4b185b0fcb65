"""Which code is this? What is kept of what it saw, and what is deployed, may be another's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def code_hash(rooms: Iterable[str] = ("modal_infra", "sft")) -> str:
    """sha256 (hex) over the Python and lock files of these rooms (those of all jobs): does this code run there?"""
    root, digest = Path(__file__).resolve().parents[2], hashlib.sha256()
    for room in rooms:
        for path in sorted([*(root / room).rglob("*.py"), *(root / room).rglob("*.txt")]):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
