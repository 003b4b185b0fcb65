"""How large the benchmarks are: whole, or small with --quick."""

from __future__ import annotations

import os

QUICK = os.environ.get("SFT_BENCH_QUICK") == "1"


def size(whole: int, quick: int) -> int:
    """``whole``, or ``quick`` with --quick."""
    return quick if QUICK else whole
