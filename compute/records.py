"""Records on a volume, through the port: done means that it parses."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from compute.base import Compute


def read_json(compute: Compute, volume: str, path: str) -> dict[str, Any] | None:
    """The file's JSON object, or None where it is missing or torn."""
    content = compute.read(volume, path)
    try:
        record = json.loads(content) if content else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def put_json(compute: Compute, volume: str, path: str, value: dict[str, Any]) -> None:
    """Write a JSON object to a volume."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "record.json"
        note.write_text(json.dumps(value))
        compute.put(volume, note, path)
