"""What a program need not import, though it is installed."""

from __future__ import annotations

import sys


def without_bitsandbytes() -> None:
    """Let this process take bitsandbytes for not installed; for programs that load no four-bit weights.

    peft imports it wherever it is, and that imports torch's compiler: 2 of the 7 seconds which the imports of such a
    program take on a CPU (measured with torch 2.13, transformers 5.24, peft 0.21, bitsandbytes 0.50). None in
    ``sys.modules`` is the documented way (docs.python.org/3/reference/import.html#the-module-cache).
    """
    sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]
