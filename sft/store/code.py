"""Which code is this? What is kept of what it saw, and what is deployed, may be another's."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def code_hash() -> str:
    """sha256 (hex) over the Python and lock files of sft/ and modal_infra/: is what is deployed what lies here?"""
    root, digest = Path(__file__).resolve().parents[2], hashlib.sha256()
    for room in ("modal_infra", "sft"):
        for path in sorted([*(root / room).rglob("*.py"), *(root / room).rglob("*.txt")]):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
