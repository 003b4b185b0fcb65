"""Ctrl-C and SIGTERM wait for a moment in which they would lose something."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """A signal that comes in the block acts at its end; a second one at once.

    Between a job's start and the moment in which its id is known, nobody could stop it any more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals act on the main thread alone
        return
    came: list[int] = []
    found = ((int(number), signal.getsignal(number)) for number in STOPPING)
    before = {number: handler for number, handler in found if callable(handler)}

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            before[number](number, frame)

    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        before[came[0]](came[0], None)
