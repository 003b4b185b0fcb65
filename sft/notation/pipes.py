"""Tables whose cells stand between ``|``, as PaddleOCR-VL writes charts: with or without ``|`` at the ends of lines."""

from __future__ import annotations

import re

_BAR = re.compile(r"(?<!\\)\|")  # \| is a character of a cell
_RULE = re.compile(r":?-+:?")


def parse(text: str) -> list[list[str]]:
    """The lines of cells; Markdown's rule below the header is left out.

    A ``|`` at the start (or end) of every line stands outside the table; at that of some lines it is an empty cell:
    "| 2001\na | 1" has an empty corner, "a | 1\nb |" an empty last cell.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not all("|" in line for line in lines):
        return [[cell.strip() for cell in _BAR.split(line)] for line in lines]
    first = all(line.startswith("|") for line in lines)
    last = all(len(line) > 1 and line.endswith("|") and not line.endswith("\\|") for line in lines)
    table = [[cell.strip().replace("\\|", "|") for cell in _BAR.split(line)] for line in lines]
    table = [line[first : len(line) - last] for line in table]
    return [line for number, line in enumerate(table) if number != 1 or not _is_rule(line)]


def has_rule(text: str) -> bool:
    """Is the second line Markdown's rule below the header?"""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return len(lines) > 1 and "|" in lines[1] and _is_rule([c.strip() for c in lines[1].strip("|").split("|")])


def _is_rule(line: list[str]) -> bool:
    return bool(line) and all(map(_RULE.fullmatch, line))


def unreadable(text: str) -> str:
    """Why a text is no table with a header, a line below it, and two columns; empty for one."""
    table = parse(text)
    if not any(len(line) > 1 for line in table):
        return "no table: cells between | in each line"
    return "" if len(table) > 1 else "a header without a line of values below it"


def problem(text: str) -> str:
    """Which line of a readable table has another number of cells than the first; empty where none has."""
    counts = [len(line) for line in parse(text)]
    odd = next((i for i, count in enumerate(counts) if count != counts[0]), None)
    return f"line {odd + 1} has {counts[odd]} cells, line 1 has {counts[0]}" if odd is not None else ""
