"""Which of a machine's GPUs a process may use: CUDA_VISIBLE_DEVICES, numbers or UUIDs between commas."""

from __future__ import annotations

import os

VARIABLE = "CUDA_VISIBLE_DEVICES"


def named() -> list[str] | None:
    """Those that the variable names, in its order; None where it is not set: all."""
    given = os.environ.get(VARIABLE)
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]


def visible(count: int) -> list[str]:
    """What the variable has to name for the first ``count`` of those that this process may use."""
    given = named()
    return list(map(str, range(count))) if given is None else given[:count]
