"""What all commands share: the application, options, and errors as one message with the right exit code."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from cli.examples import EXAMPLES
from sft.errors import JobCancelled, SftError, check_all, without_secrets
from sft.foreign import as_ours

if TYPE_CHECKING:
    from sft.config import RunConfig

NAMES = "{profiles}"  # in a help text: the profiles that are in configs/, looked up when a command is asked for
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


class Commands(TyperGroup):
    """The commands; each has its examples under its help."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, with what only its help needs."""
        command = super().get_command(ctx, cmd_name)
        if command is None:
            return None
        names = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
        for parameter in command.params:
            if NAMES in (said := getattr(parameter, "help", None) or ""):
                parameter.help = said.replace(NAMES, names)  # type: ignore[attr-defined]
        if examples := EXAMPLES.get(cmd_name):
            command.epilog = "\n\n".join(["Examples:", *examples])
        return command


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fine-tune PaddleOCR-VL on your own documents.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"sft {version('paddleocr-vl-sft')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say which version this is")
    ] = False,
) -> None:
    """Fine-tune PaddleOCR-VL on your own documents."""


Profile = Annotated[str, typer.Argument(help=f"One of {NAMES}, or the path of a .yaml file")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as train.epochs=3")
]
WIDE = 160  # columns, where the output is no terminal


def consoles() -> tuple[Console, Console]:
    """Standard output and standard error; what a terminal cannot write is escaped, and stops nothing.

    One that is closed (``>&-``, some services) is none: what would go there is lost.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    width = None if sys.stdout.isatty() else WIDE
    return Console(width=width), Console(stderr=True, width=width)


def say(out: Console, text: str) -> None:
    """A line as it is: paths stay whole, and nothing in it is markup."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def guarded(body: Callable[[Console], None]) -> None:
    """Run a command's body; every error becomes one message and the right exit code."""
    out, err = consoles()
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client says on each terminal what it would count
    try:
        body(out)
    except KeyboardInterrupt:
        err.print("interrupted: what it had started is stopped; the same command again goes on from what was saved")
        raise typer.Exit(130) from None
    except BrokenPipeError:  # whoever read the output has seen enough; typer ends quietly
        raise
    except Exception as error:
        told = as_ours(error) or _unforeseen(error)
        err.print(f"error: {told}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130 if isinstance(told, JobCancelled) else told.exit_code) from None


def resolved(
    profile: str,
    settings: Sequence[str],
    *checks: Callable[[], object],
    fits: Callable[[RunConfig], object] = lambda _: None,
) -> RunConfig:
    """The configuration that a command is given, once ``checks`` have looked at what else it is given.

    Args:
        fits: looks at what only the configuration can tell; it is asked where there is one.
    Raises:
        InputError: all that is wrong with both, at once.
    """
    from sft.config import load  # late: sft --help needs none of it

    found: list[RunConfig] = []
    check_all(lambda: found.append(load(profile, settings).config), *checks, lambda: [fits(one) for one in found])
    return found[0]


def _unforeseen(error: Exception) -> SftError:
    """A fault of this program: its traceback goes to a file, for a report."""
    from compute.select import state_folder  # late: it takes the configuration's model along

    text = without_secrets("".join(traceback.format_exception(error)))
    remedy = "run again; if it comes back, report it"
    try:
        place = state_folder() / "faults" / time.strftime("%Y%m%d-%H%M%S.txt")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        remedy += f" with {place}"
    except OSError:
        remedy += f" with these lines:\n{text[-2000:]}"
    return SftError(f"a fault of this program: {type(error).__name__}: {error}", remedy=remedy)
