"""The GPUs of this machine, as the driver tells them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import lru_cache

QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits")
SECONDS = 20  # a driver that sleeps takes some of them
MIB = 1 << 20  # bytes
AMPERE = 8  # major compute capability from which a card computes in bf16


@dataclass(frozen=True)
class Card:
    """``memory`` is GB."""

    name: str
    memory: float
    bf16: bool


def cards() -> tuple[Card, ...]:
    """All that ``nvidia-smi`` lists; none where it is not there, or finds no driver. Asked once in a process."""
    return _asked(os.environ.get("PATH", ""))


@lru_cache
def _asked(path: str) -> tuple[Card, ...]:
    try:
        process = subprocess.run(QUERY, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return () if process.returncode else tuple(filter(None, map(_card, process.stdout.splitlines())))


def _card(line: str) -> Card | None:
    """Example: ``NVIDIA GeForce RTX 4090, 24564, 8.9``; a field that the driver does not know is ``[N/A]``."""
    try:
        name, memory, capability = (field.strip() for field in line.split(","))
        return Card(name, int(memory) * MIB / 1e9, float(capability) >= AMPERE)
    except ValueError:
        return None
