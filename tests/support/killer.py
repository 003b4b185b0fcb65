"""Kills a real training at a chosen moment."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from compute.local import LocalCompute
from sft.context import read_event


@contextmanager
def kill_training_after(compute: LocalCompute, *, checkpoint: int) -> Iterator[None]:
    """SIGKILL the training's process as soon as ``checkpoint`` is sealed, while the block runs."""
    stop = threading.Event()
    killer = threading.Thread(target=_kill, args=(compute, checkpoint, stop))
    killer.start()
    try:
        yield
    finally:
        stop.set()
        killer.join()


def _kill(compute: LocalCompute, checkpoint: int, stop: threading.Event) -> None:
    while not stop.is_set():
        for folder in compute.calls.glob("train-*"):
            for line in compute.logs(folder.name, "")[0]:
                event = read_event(line)
                if event and event["event"] == "checkpoint" and event["step"] >= checkpoint:
                    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
                    return
        time.sleep(0.05)
