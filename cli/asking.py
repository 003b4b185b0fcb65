"""The terminal asks whether a model goes into service (``promote.mode: ask``); see :mod:`tasks.approve`."""

from __future__ import annotations

import getpass
import os
import select
import sys
from typing import TYPE_CHECKING

from cli.console import Terminal
from sft.jobs.promote import Answer

if TYPE_CHECKING:
    from tasks.approve import Question

YES, NO = ("y", "yes", "accept"), ("n", "no", "refuse")
PUT, WHY = "Put it into service? yes or no: ", "Why? "
LOOK = 1.0  # seconds that a look at the keyboard takes at most


def somebody_sits_here() -> bool:
    """Can a person at this terminal be asked?"""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


class Keyboard:
    """Asks at the terminal: yes or no, and why. It never blocks, as somebody may decide elsewhere meanwhile."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal, self._typed, self._open = terminal, b"", True
        self._accepted: bool | None = None

    def ask(self, question: Question) -> None:
        """Put the question."""
        self._typed, self._accepted = b"", None
        self._terminal.rest()
        self._say(PUT)

    def heard(self) -> Answer | None:
        """The answer, if there is one; waits a second at most."""
        if not self._open:  # the keyboard is gone: somebody may still answer elsewhere
            select.select([], [], [], LOOK)
            return None
        ready, _, _ = select.select([sys.stdin], [], [], LOOK)
        if not ready:
            return None
        said = os.read(sys.stdin.fileno(), 4096)
        self._open = bool(said)
        self._typed += said
        while b"\n" in self._typed:
            line, _, self._typed = self._typed.partition(b"\n")
            if (answer := self._line(line.decode(errors="replace").strip())) is not None:
                return answer
        return None

    def _line(self, text: str) -> Answer | None:
        if self._accepted is None:
            self._accepted = {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}.get(text.lower())
        elif text:
            return Answer(accepted=self._accepted, who=user(), reason=text[:500])
        self._say(PUT if self._accepted is None else WHY)
        return None

    def enough(self) -> None:
        """It is decided; nobody listens any more."""
        self._terminal.go_on()

    def _say(self, text: str) -> None:
        self._terminal.console.print(text, end="", markup=False, highlight=False)


def user() -> str:
    """Who sits here, as the machine knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user {os.getuid()}"
