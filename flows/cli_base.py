"""What all commands share: the application, options, and errors as one message with the right exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from sft.errors import JobCancelled, SftError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fine-tune PaddleOCR-VL on your own documents.",
)
Profile = Annotated[str, typer.Argument(help="smoke, full, lora, nightly, or the path of a .yaml file")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as train.epochs=3")
]
WIDE = 160  # columns, where the output is no terminal


def consoles() -> tuple[Console, Console]:
    """Standard output and standard error."""
    width = None if sys.stdout.isatty() else WIDE
    return Console(width=width), Console(stderr=True, width=width)


def say(out: Console, text: str) -> None:
    """A line as it is: paths stay whole, and nothing in it is markup."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def guarded(body: Callable[[Console], None]) -> None:
    """Run a command's body; our own errors become one message and the right exit code."""
    out, err = consoles()
    try:
        body(out)
    except SftError as error:
        err.print(f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130 if isinstance(error, JobCancelled) else error.exit_code) from None
    except KeyboardInterrupt:
        err.print("interrupted: the job was stopped; run the same command again to resume from its newest checkpoint")
        raise typer.Exit(130) from None
