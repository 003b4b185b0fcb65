"""Files of weights in the format safetensors, by their headers: 8 bytes little-endian header length, JSON header, data.

Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 1 << 24  # bytes looked at together
LONGEST = 100_000_000  # bytes of a header, by the format


def header(path: Path) -> tuple[dict[str, Any], int]:
    """(the header of a safetensors file, where its data begins in bytes).

    Raises:
        ValueError, struct.error: it has none, or one longer than the format allows.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > LONGEST:
            raise ValueError(f"a header of {length} bytes")
        entries: dict[str, Any] = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    return entries, 8 + length


def torn(path: Path) -> str | None:
    """What is wrong where the file is not as long as its header says, or has none."""
    try:
        entries, begin = header(path)
        expected = begin + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        found = path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        return f"{path.name} cannot be read: {type(error).__name__}"
    return None if expected == found else f"{path.name} is torn: {found} bytes instead of {expected}"


def encoded_header(weights: dict[str, tuple[str, list[int], int]]) -> bytes:
    """What stands before the data: header length, JSON header; the data starts at a multiple of 8.

    Args:
        weights: name → (dtype, shape, size in bytes), in the order of the data.
    """
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape, size) in weights.items():
        start, end = end, end + size
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def tensors(folder: Path) -> dict[str, Any]:
    """Name → dtype, shape and place of every weight of a model."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found.update(header(path)[0])
    return found


def not_finite(path: Path) -> Iterator[str]:
    """Names of the weights that hold NaN or infinity; bytes are looked at block by block."""
    import numpy as np

    # A number is not finite where its exponent has only ones.
    masks = {"F32": (np.uint32, 0x7F800000), "BF16": (np.uint16, 0x7F80), "F16": (np.uint16, 0x7C00)}
    entries, begin = header(path)
    with path.open("rb") as file:
        for name, entry in entries.items():
            if entry["dtype"] not in masks:
                continue
            kind, mask = masks[entry["dtype"]]
            start, end = entry["data_offsets"]
            file.seek(begin + start)
            for at in range(start, end, BLOCK):
                bits = np.frombuffer(file.read(min(BLOCK, end - at)), kind)
                if bool(((bits & mask) == mask).any()):
                    yield name
                    break
