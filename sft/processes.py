"""Processes on one machine: children that must not outlive their parent, and one at a time at a folder."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sft import guard

END_NOW = signal.SIGUSR1  # what a guard kills everything at
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """For ``preexec_fn``: the kernel sends the child SIGKILL when its parent dies, also by SIGKILL (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def guarded(command: Sequence[str], grace: float) -> list[str]:
    """The command under :mod:`sft.guard`, for a session of its own (``start_new_session``): all that it starts ends
    with it, at SIGTERM within ``grace`` seconds, at :data:`END_NOW` at once, and at once if this process dies."""
    # By its path, isolated: it must start whatever folder, PYTHONPATH or module lies in its way.
    return [sys.executable, "-I", guard.__file__, str(os.getpid()), str(grace), json.dumps(list(command))]


_SECRET = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|KEY|AUTH|CONNECTION)(_|$)", re.I)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program that needs no credentials and may print all that it has."""
    return {name: value for name, value in environment.items() if not _SECRET.search(name)}


@contextmanager
def repeating(seconds: float, body: Callable[[], None]) -> Iterator[None]:
    """Call ``body`` again and again, beside the block, with so many seconds between."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            body()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def alone_at(target: Path) -> Iterator[None]:
    """No other process of this machine works on ``target`` while the block runs; the kernel frees the lock."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".lock-{target.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
