"""docs/configuration.md and docs/commands.md, made from the configuration's fields and the commands' own help.

``python -m cli.reference`` (``make docs``) writes both; a test compares them with what this would write.
"""

from __future__ import annotations

import importlib
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from cli.base import NAMES
from cli.examples import EXAMPLES
from sft.config import RunConfig
from sft.config.profiles import layers, leaves, profiles

DOCS = Path(__file__).resolve().parents[1] / "docs"
MADE = "<!-- Made by `make docs`: change the source, not this file. -->"


def configuration(named: Sequence[str] | None = None) -> str:
    """A table for each section: key, what is allowed, unit, default, which profile sets it to what, description.

    Args:
        named: the profiles that are looked at; None: all in configs/.
    """
    sections = dict(_sections(RunConfig, ""))
    values = {name: dict(leaves(layers(name, RunConfig)[-1][1])) for name in (profiles() if named is None else named)}
    lines = [MADE, "", "# Configuration", "", _INTRODUCTION.strip(), ""]
    for prefix, model in sections.items():
        lines += [f"## {prefix or 'The run'}", "", _plain(model.__doc__ or ""), ""]
        lines += ["| key | allowed | unit | default | set by | |", "|---|---|---|---|---|---|"]
        for name, field in model.model_fields.items():
            key = f"{prefix}.{name}" if prefix else name
            if key not in sections:
                said = field.description or ""
                cells = (f"`{key}`", _allowed(field), unit(field), _default(field), _set_by(key, values), said)
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


_INTRODUCTION = """
A profile is a YAML file in `configs/`, or any path ending in .yaml or .yml. Its key `profile` names another one that
lies below it; `--set a.b=c` lies above. A value that is not given has its default. A misspelt key is an error that
names the nearest one, and all problems are reported at once. YAML 1.2: `on`, `off`, `yes` are texts, and a key that
stands twice is an error. A run prints every value with where it came from.

`train.max_steps: auto` is rows × epochs / (batch_size × gradient_accumulation_steps), rounded up; with erniekit packs ×
epochs / gradient_accumulation_steps, where a pack has at most batch_size rows and max_seq_len tokens (estimated from a
sample where not every pack is full). "The trainer does not use what it was told": the run stopped before its first
step, with a table of what was asked for and what the trainer says that it uses.
"""


# Where a description says its unit: in brackets, or by its first words.
_UNITS = (
    re.compile(
        r"\((?:absolute, )?"
        r"(px|bytes|rows|documents|tokens|minutes|hours|MiB|fraction|currency per hour|currency)\b"
    ),
    re.compile(
        r"^(?:Held-out |Optimiser )?(Share|How often|Rows|rows|Steps|steps|Passes|Forward passes|Processes|Checkpoints|"
        r"Calls|Findings|CPU cores|GPUs)\b"
    ),
)
_WORDS = {"Share": "fraction", "How often": "times"}


def unit(field: FieldInfo) -> str:
    """The unit of a number, as its description has it; empty where it has none."""
    if not {int, float} & set(_plain_types(field.annotation)):
        return ""
    found = next((m for m in (pattern.search(field.description or "") for pattern in _UNITS) if m), None)
    if found is None:
        return ""
    return _WORDS.get(found[1]) or (found[1] if found[1] in ("MiB", "CPU cores", "GPUs") else found[1].lower())


def _plain_types(kind: Any) -> Iterator[Any]:
    yield kind
    for part in get_args(kind):
        yield from _plain_types(part)


def _set_by(key: str, values: dict[str, dict[str, Any]]) -> str:
    """Which profiles set the key in their own file, and to what."""
    found: dict[str, list[str]] = {}
    for name, given in values.items():
        if key in given:
            value = given[key]
            text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
            found.setdefault(text, []).append(name)
    return "; ".join(f"{', '.join(names)}: `{text}`" for text, names in found.items())


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """(dotted name, model) of a model and of all sections in it."""
    yield prefix, model
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                named = ".NAME" if get_origin(field.annotation) is dict else ""  # the user names each of them
                yield from _sections(kind, (f"{prefix}.{name}" if prefix else name) + named)


def _allowed(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    listed = extra.get("enum") if isinstance(extra, dict) else None
    kind = ", ".join(map(str, listed)) if isinstance(listed, list) else _kind(field.annotation)
    return ", ".join(filter(None, [kind, *_bounds(field.metadata)]))


_SIGNS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
_NAMES = {str: "text", int: "whole number", float: "number", bool: "true, false", type(None): "null"}


def _bounds(metadata: list[Any]) -> list[str]:
    found = [f"{sign} {getattr(m, name):,}" for m in metadata for name, sign in _SIGNS if hasattr(m, name)]
    longest = [f"at most {m.max_length} characters" for m in metadata if hasattr(m, "max_length")]
    return [*found, *longest]


def _kind(kind: Any) -> str:
    """A field's type in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(map(str, parts))
    if origin in (Union, types.UnionType):
        return " or ".join(map(_kind, parts))
    if origin is tuple:
        return f"list of {_kind(parts[0])}"
    if origin is dict:
        return f"{_kind(parts[0])} → {_kind(parts[1])}"
    if hasattr(kind, "__metadata__"):  # Annotated: its bounds lie one level deeper
        inner = [bound for m in kind.__metadata__ for bound in _bounds([m, *getattr(m, "metadata", ())])]
        return " ".join([_kind(parts[0]), *inner])
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "null"
    if isinstance(value, tuple):
        value = f"[{', '.join(map(str, value))}]"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value not in ("", "[]", {}) else ""


def _plain(docstring: str) -> str:
    """A docstring as Markdown, in one line."""
    return re.sub(r":\w+:(?=`)", "", " ".join(docstring.split()).replace("``", "`"))


def commands() -> str:
    """Each command with its usage, what it does, its arguments and options."""
    importlib.import_module("cli.run")  # every command registers itself there
    from cli.base import app

    root = get_command(app)
    assert isinstance(root, click.Group | typer.core.TyperGroup)
    lines = [MADE, "", "# Commands", "", "Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted.", ""]
    for name, command in root.commands.items():
        lines += [f"## sft {name}", ""]
        lines += [f"    sft {' '.join([name, *_usage(command)])}", ""]
        lines += [*_paragraphs(command.help or ""), ""]
        lines += [*(f"    {example}" for example in EXAMPLES.get(name, ())), ""]
        rows = [row for row in map(_row, command.params) if row]
        lines += ["| | | default |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join(lines)


def _usage(command: Any) -> list[str]:
    """The arguments, those that may be left out in brackets, and the options that may not."""
    usage = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            named = f"{parameter.name.upper()}{'…' if parameter.nargs < 0 else ''}"
            usage.append(named if parameter.required else f"[{named}]")
        elif parameter.required:
            usage.append(f"{parameter.opts[0]} {parameter.name.upper()}")
    return [*usage, "[OPTIONS]"]


def _paragraphs(text: str) -> list[str]:
    """A help text without what only a terminal shows."""
    return [line.strip() for line in text.replace("\b\n", "").splitlines()]


def _row(parameter: Any) -> str:
    if parameter.name == "help":
        return ""
    named = parameter.name.upper() if parameter.param_type_name == "argument" else " ".join(parameter.opts)
    # A profile that a user adds makes the page no other.
    said = (getattr(parameter, "help", "") or "").replace("|", "\\|").replace(NAMES, "the names in `configs/`")
    default = getattr(parameter.default, "value", parameter.default)
    shown = default if isinstance(default, str | int | float | Path) and default not in ("", False) else ""
    if parameter.required:
        shown = "needed"
    return f"| `{named}` | {said} | {shown} |"


def main() -> None:
    """Write both."""
    DOCS.mkdir(exist_ok=True)
    (DOCS / "configuration.md").write_text(configuration())
    (DOCS / "commands.md").write_text(commands())


if __name__ == "__main__":
    main()
