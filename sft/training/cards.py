"""The GPUs of this machine, as the driver tells them and CUDA_VISIBLE_DEVICES leaves them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from functools import lru_cache

from sft.devices import named

QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,compute_cap,uuid", "--format=csv,noheader,nounits")
SECONDS = 20  # a driver that sleeps takes some of them
MIB = 1 << 20  # bytes
AMPERE = 8  # major compute capability from which a card computes in bf16


@dataclass(frozen=True)
class Card:
    """``memory`` is GB. ``uuid`` is empty where the driver tells none."""

    name: str
    memory: float
    bf16: bool
    uuid: str = field(default="", compare=False)


def cards() -> tuple[Card, ...]:
    """Those that ``nvidia-smi`` lists and CUDA_VISIBLE_DEVICES, where it is set, names: in its order, by number (as
    nvidia-smi counts) or UUID. As with CUDA, what follows a card that there is not does not count. None where
    nvidia-smi is not there, or finds no driver; it is asked once in a process.
    """
    found, names = _asked(os.environ.get("PATH", "")), named()
    if names is None:
        return tuple(card for card in found if card is not None)
    chosen: list[Card] = []
    for name in names:
        number = int(name) if name.isdecimal() else len(found)
        by_uuid = [card for card in found if card is not None and name and card.uuid.startswith(name)]
        card = found[number] if number < len(found) else by_uuid[0] if len(by_uuid) == 1 else None
        if card is None:
            break
        chosen.append(card)
    return tuple(chosen)


@lru_cache
def _asked(path: str) -> tuple[Card | None, ...]:
    try:
        process = subprocess.run(QUERY, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return () if process.returncode else tuple(map(_card, process.stdout.splitlines()))


def _card(line: str) -> Card | None:
    """Example: ``NVIDIA GeForce RTX 4090, 24564, 8.9, GPU-3ac5…``; a field that the driver does not know is ``[N/A]``.

    A card whose memory it does not tell is none that can be counted on.
    """
    try:
        name, memory, capability, uuid = (part.strip() for part in line.split(","))
        return Card(name, int(memory) * MIB / 1e9, float(capability) >= AMPERE, uuid)
    except ValueError:
        return None
