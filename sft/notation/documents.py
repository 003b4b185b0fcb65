"""Answers that are documents in JSON: objects or lists, as fine-tuned models write the fields of an invoice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


def parse(text: str) -> Any:
    """The document.

    Raises:
        ValueError: it is no JSON, or neither an object nor a list.
    """
    try:
        value = msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from error
    if not isinstance(value, (dict, list)):
        raise ValueError(f"a JSON {type(value).__name__}, neither an object nor a list")
    return value


def unreadable(text: str) -> str:
    """Why a text is no document; empty for one."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""


def lacking(text: str, keys: Sequence[str]) -> str:
    """Which keys a readable document lacks; each object of a list has them all. Empty where none is lacking."""
    if not keys:
        return ""
    value = parse(text)
    for number, one in enumerate(value if isinstance(value, list) else [value], 1):
        where = f" in item {number}" if isinstance(value, list) else ""
        if not isinstance(one, dict):
            return f"no object{where}: {str(one)[:40]!r}"
        if missing := [key for key in keys if key not in one]:
            return f"no {', '.join(missing)}{where}; there are: {', '.join(list(one)[:8]) or 'none'}"
    return ""
