"""What a program that imports Paddle or torch need not do while it starts."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def without_bitsandbytes() -> None:
    """Let this process take bitsandbytes for not installed; for programs that load no four-bit weights.

    peft imports it wherever it is, and that imports torch's compiler: 2 of the 7 seconds which the imports of such a
    program take on a CPU (measured with torch 2.13, transformers 5.24, peft 0.21, bitsandbytes 0.50). None in
    ``sys.modules`` is the documented way (docs.python.org/3/reference/import.html#the-module-cache).
    """
    sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]


@contextmanager
def starting() -> Iterator[None]:
    """Nothing is looked for that could be collected, while a program imports its packages and loads its model.

    Each look goes through all modules that are there already, for nothing: a seventh of the time of the imports
    (measured). What is there at the end is left out of all later looks.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
