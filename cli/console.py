"""The terminal's view of a run: what each step says, and a live line while a job works."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sft.config import Resolved


class Terminal:
    """A listener (see :mod:`tasks.telling`) that prints to ``console``."""

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Terminal:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def rest(self) -> None:
        """Leave the line below to whoever types there, until :meth:`go_on`."""
        self._progress.stop()

    def go_on(self) -> None:
        """Show the live line again."""
        self._progress.start()

    def line(self, text: str) -> None:
        """Print a line; the live one stays below."""
        if self.console.is_terminal and text.startswith("step "):
            return  # the live line says it already
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def event(self, event: dict[str, Any]) -> None:
        """Move the live line."""
        if event["event"] == "progress":
            left = (event["steps"] - event["step"]) / max(event["rate"], 1e-9)
            text = (
                f"step {event['step']}/{event['steps']}  loss {event['loss']:.3f}  "
                f"learning rate {event['learning_rate']:.1e}  {event['rate']:.1f} steps/s  {left:.0f} s left"
            )
            self._show("train", event["step"], event["steps"], text)
        elif event["event"] == "evaluate":
            self._show(
                f"read with {event['model']}", event["done"], event["rows"], f"{event['done']}/{event['rows']} rows"
            )

    def _show(self, name: str, done: int, total: int, text: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, text=text)
        self._progress.update(self._tasks[name], completed=done, total=total, text=text)
        if done >= total:
            self._progress.remove_task(self._tasks.pop(name))


def show_resolved(console: Console, resolved: Resolved) -> None:
    """Each resolved value with its source."""
    table = Table("key", "value", "from", box=None, pad_edge=False)
    for row in resolved.lines():
        table.add_row(*row)
    console.print(table)
