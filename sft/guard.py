"""Runs a command and ends all that descends from it: ``python -I guard.py PARENT GRACE COMMAND`` (JSON, a list).

A trainer's CLI starts a launcher, and that one workers in sessions of their own. A signal to the CLI ends the CLI
alone, and then nothing connects the others with it. The guard is what adopts them (a subreaper, prctl(2)), so nobody
gets out of its sight. It lives in a session of its own, because it has to outlive a job that is killed with its group.

    SIGTERM        the command is asked to end; whatever is left after GRACE seconds is killed
    SIGUSR1        everything is killed now; the kernel sends it, too, when the parent dies
    command ended  whatever it left behind is asked to end, and is killed after GRACE seconds

It ends as the command did: with its exit code, or by the same signal. It imports nothing of this project and starts
within 30 ms, because it starts with every training.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_AWAITED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1)
_AGAIN = 0.05  # seconds after which it is looked who still lives after a kill
_LIBC = ctypes.CDLL(None)


def descendants(pid: int) -> list[int]:
    """All that descend from a process, parents before their children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue  # it has just ended
            children.setdefault(parent, []).append(int(entry.name))
    found = list(children.get(pid, []))
    for one in found:  # grows while it is walked
        found += children.get(one, [])
    return found


def _signal_all(number: int) -> None:
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _before_exec() -> None:
    """For the command: it sees no blocked signals, and dies with the guard."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _reap(command: int, status: int | None) -> tuple[int | None, bool]:
    """Wait for those that have ended: (the command's status once it is known, is nobody left?)."""
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, True
        if pid == 0:
            return status, False
        if pid == command:
            status = ended


def guard(parent: int, grace: float, argv: list[str]) -> int:
    """Run the command until nothing of it is left; returns its status as os.waitpid(2) gives it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    process = subprocess.Popen(argv, close_fds=False, preexec_fn=_before_exec)
    kill_at = time.monotonic() if os.getppid() != parent else float("inf")  # it had died before it could be noticed
    status, orphans_asked = None, False
    while True:
        left = max(0.0, kill_at - time.monotonic())
        came = signal.sigwaitinfo(_AWAITED) if left == float("inf") else signal.sigtimedwait(_AWAITED, left)
        status, alone = _reap(process.pid, status)
        if alone:
            return status or 0
        if came is not None and came.si_signo == signal.SIGTERM:
            kill_at = min(kill_at, time.monotonic() + grace)
            if status is None:
                os.kill(process.pid, signal.SIGTERM)
        if came is not None and came.si_signo == signal.SIGUSR1:
            kill_at = time.monotonic()
        if status is not None and not orphans_asked:
            orphans_asked = True
            kill_at = min(kill_at, time.monotonic() + grace)
            _signal_all(signal.SIGTERM)
        if time.monotonic() >= kill_at:
            _signal_all(signal.SIGKILL)
            kill_at = time.monotonic() + _AGAIN


def main() -> None:
    """End as the command did."""
    status = guard(int(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3]))
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command has left its own
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.kill(os.getpid(), os.WTERMSIG(status))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
