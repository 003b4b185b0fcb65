"""How a task tells people what it does: the flow run's log, and whoever listens in this process (the terminal)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from prefect import get_run_logger


class Listener(Protocol):
    """Somebody who watches the run in this process."""

    def line(self, text: str) -> None:
        """A step has something to say."""
        ...

    def event(self, event: dict[str, Any]) -> None:
        """A job reported: progress, a checkpoint, …"""
        ...


_LISTENERS: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let ``listener`` hear everything while the block runs."""
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


def tell(text: str) -> None:
    """One line into the flow run's log and to the listeners."""
    get_run_logger().info(text)
    for listener in _LISTENERS:
        listener.line(text)


def pass_on(event: dict[str, Any]) -> None:
    """A job's event, to the listeners."""
    for listener in _LISTENERS:
        listener.event(event)
