"""A flow that is run from the terminal: Prefect's settings for it, and the view of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sft.errors import JobCancelled

if TYPE_CHECKING:
    from prefect import State


def prefect_defaults() -> None:
    """Prefect's settings for a run from the terminal, where the environment does not say otherwise."""
    defaults = {
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",  # no server is needed
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the terminal has a view of its own, errors included
        "PREFECT_CLI_WRAP_LINES": "false",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def shown(out: Console, wait: Callable[[], None], flow: Callable[[], State[Any]]) -> State[Any]:
    """Run a flow with the terminal's view; its last state.

    Args:
        wait: returns when Prefect's API answers.
    Raises:
        JobCancelled: the run was cancelled, and its job stopped.
    """
    from cli.asking import Keyboard, somebody_sits_here
    from cli.console import Terminal
    from cli.temporary_server import is_temporary
    from tasks.approve import asking
    from tasks.telling import listening

    wait()
    with Terminal(out) as terminal, listening(terminal):
        asker = Keyboard(terminal) if somebody_sits_here() else None
        with asking(asker, form=not is_temporary()):
            state = flow()
    if state.is_cancelled():
        raise JobCancelled(state.message or "the run was cancelled")
    return state
