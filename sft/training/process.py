"""A trainer's process: started under its guard, read line by line, watched for progress, ended with all it started."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sft.engines.base import Command
from sft.errors import TrainingFailed
from sft.processes import END_NOW, guarded, repeating, without_secrets

GRACE = 4.5  # seconds between SIGTERM and SIGKILL: the trainer may save a checkpoint in them


class Process:
    """One trainer's process.

    Attributes:
        stalled: it was ended because it made no progress for ``stall_seconds``.
        ended_by_itself: asked to stop, it saved a checkpoint and left.
    """

    def __init__(self, command: Command, folder: Path, inherited: Sequence[int], stall_seconds: float) -> None:
        """Start it in ``folder``; it inherits the file descriptors ``inherited``.

        Raises:
            TrainingFailed: there is no such program.
        """
        self.stalled = self.ended_by_itself = False
        self._stall_seconds, self._progress = stall_seconds, time.monotonic()
        try:
            self._process = _start(command, folder, inherited)
        except OSError as error:
            remedy = "the environment of the engine is incomplete: sft doctor names what is missing"
            raise TrainingFailed(
                f"the trainer cannot be started: {error}", value=command.argv[0], remedy=remedy
            ) from error

    def seen(self) -> None:
        """There was progress just now."""
        self._progress = time.monotonic()

    def follow(self, read: Callable[[str], None], at_once: Callable[[], bool]) -> int:
        """Give ``read`` every line, to the end; returns the exit code (negative for a signal).

        What ``read`` raises ends the trainer: it may save a checkpoint first, unless ``at_once`` says no.
        """
        process = self._process
        assert process.stdout is not None
        with process.stdout, repeating(min(1.0, self._stall_seconds / 4), self._look):
            try:
                for line in process.stdout:
                    read(line.rstrip())
            except BaseException:
                if at_once():
                    process.send_signal(END_NOW)
                self.ended_by_itself = self._end(read)
                raise
        return process.wait()

    def _look(self) -> None:
        if not self.stalled and time.monotonic() - self._progress > self._stall_seconds:
            self.stalled = True
            self._process.send_signal(END_NOW)

    def _end(self, read: Callable[[str], None]) -> bool:
        """Ask the trainer to end; its guard makes it, with all its processes. True if it ended by itself.

        What it still says is read: the steps up to the checkpoint that it saves, and nobody writes into a full pipe.
        """
        self._process.terminate()
        reader = threading.Thread(target=self._read_rest, args=(read,), daemon=True)
        reader.start()
        try:
            return self._process.wait() == 0
        finally:
            reader.join(1.0)

    def _read_rest(self, read: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        with suppress(TrainingFailed, OSError, ValueError):  # it is being stopped already
            for line in self._process.stdout:
                read(line.rstrip())


def _start(command: Command, folder: Path, inherited: Sequence[int]) -> subprocess.Popen[str]:
    environment = {**without_secrets(os.environ), **command.environment}  # ERNIEKit prints all of it
    if shutil.which(command.argv[0], path=environment.get("PATH")) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command.argv[0])
    return subprocess.Popen(
        guarded(command.argv, GRACE),
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=list(inherited),
    )
