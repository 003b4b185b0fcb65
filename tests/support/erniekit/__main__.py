"""CLI, launcher and worker: ``python -m tests.support.erniekit ROLE train CONFIG``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.erniekit.worker import work

POLL = 0.1  # seconds between two looks of the launcher at the worker's log; paddle's: 2
LOGS = Path("erniekit_dist_log")  # in the working folder


def cli(arguments: list[str]) -> int:
    """Start the launcher and wait for it."""
    return subprocess.run([sys.executable, "-m", __package__, "launcher", *arguments], check=False).returncode


def launcher(arguments: list[str]) -> int:
    """Start the worker and print its log file; at SIGTERM stop it."""
    LOGS.mkdir(exist_ok=True)
    path = LOGS / "workerlog.0"
    with path.open("wb") as log:
        command = [sys.executable, "-u", "-m", __package__, "worker", *arguments]
        worker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop(number: int, _: object) -> None:
        os.killpg(worker.pid, signal.SIGTERM)
        sys.exit(number)

    signal.signal(signal.SIGTERM, stop)
    with path.open() as told:
        while True:
            ended = worker.poll() is not None
            sys.stdout.write(told.read())
            sys.stdout.flush()
            if ended:
                return worker.returncode
            time.sleep(POLL)


def worker(arguments: list[str]) -> int:
    """Train."""
    verb, config = arguments
    if verb != "train":
        sys.exit(f"Unknown command : {verb}")
    work(Path(config))
    return 0


if __name__ == "__main__":
    sys.exit({"cli": cli, "launcher": launcher, "worker": worker}[sys.argv[1]](sys.argv[2:]))
