"""Tables in OTSL, as PaddleOCR-VL writes them: parse, check, turn into HTML (tables.py turns others into OTSL).

A cell is ``<fcel>`` with its text or ``<ecel>``; ``<lcel>`` belongs to the cell on its left, ``<ucel>`` to the one
above, ``<xcel>`` to both; ``<nl>`` ends a line. Source: Lysak et al., Optimized Table Tokenization for Table Structure
Recognition (ICDAR 2023), whose rules of a valid table are the ones checked here.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_TOKEN = re.compile(r"<(fcel|ecel|lcel|ucel|xcel|nl)>")
_EMPTY = ("ecel", "lcel", "ucel", "xcel")  # tokens that no text follows


@dataclass(frozen=True)
class Cell:
    """One cell; ``kind`` is the token's name."""

    kind: str
    text: str = ""


def parse(text: str) -> list[list[Cell]]:
    """The lines of a table; text before the first token is left out, a last line without ``<nl>`` counts."""
    parts = _TOKEN.split(text)
    lines: list[list[Cell]] = []
    line: list[Cell] = []
    for kind, content in zip(parts[1::2], parts[2::2]):
        if kind == "nl":
            lines.append(line)
            line = []
        else:
            line.append(Cell(kind, content.strip()))
    if line:
        lines.append(line)
    return lines


def has_token(text: str) -> bool:
    """Is there a token of OTSL in a text?"""
    return _TOKEN.search(text) is not None


def unreadable(text: str) -> str:
    """Why a text is no table in OTSL at all; empty where it has a cell."""
    if not has_token(text):
        return "no OTSL token, such as <fcel> and <nl>"
    return "" if any(parse(text)) else "no cell, only <nl>"


def problem(text: str) -> str:
    """Why a text is no whole, rectangular table; empty for a good one."""
    if said := unreadable(text):
        return said
    parts = _TOKEN.split(text)
    if parts[0].strip():
        return f"text before the first token: {parts[0].strip()[:40]!r}"
    if parts[-2] != "nl" or parts[-1].strip():
        return "the last line is not closed by <nl>"
    lines = parse(text)
    widths = {len(line) for line in lines}
    if len(widths) > 1:
        odd = next(i for i, line in enumerate(lines) if len(line) != len(lines[0]))
        return f"line {odd + 1} has {len(lines[odd])} cells, line 1 has {len(lines[0])}"
    for row, line in enumerate(lines):
        for column, cell in enumerate(line):
            if cell.text and cell.kind in _EMPTY:
                return f"line {row + 1}, cell {column + 1}: text behind <{cell.kind}>: {cell.text[:40]!r}"
            if wrong := _misplaced(lines, row, column, cell):
                return f"line {row + 1}, cell {column + 1}: {wrong}"
    return ""


def _misplaced(lines: list[list[Cell]], row: int, column: int, cell: Cell) -> str:
    left = lines[row][column - 1].kind if column else ""
    above = lines[row - 1][column].kind if row else ""
    if cell.kind == "lcel" and left not in ("fcel", "ecel", "lcel"):
        return "<lcel> without a cell on its left"
    if cell.kind == "ucel" and above not in ("fcel", "ecel", "ucel"):
        return "<ucel> without a cell above"
    if cell.kind == "xcel" and (left not in ("ucel", "xcel") or above not in ("lcel", "xcel")):
        return "<xcel> outside a cell of two lines and two columns"
    return ""


@dataclass(frozen=True)
class Span:
    """A cell with the lines and columns that it covers, and all text in them."""

    text: str
    rows: int = 1
    columns: int = 1


def cells(text: str) -> list[list[Span]]:
    """The cells that begin in each line; whatever is misplaced becomes a cell of its own."""
    lines = parse(text)
    return [
        [_span(lines, row, column) for column in range(len(line)) if _begins(lines, row, column)]
        for row, line in enumerate(lines)
    ]


def to_html(text: str) -> str:
    """The table as HTML, merged cells with rowspan and colspan."""
    rows = ("<tr>" + "".join(map(_html, line)) + "</tr>" for line in cells(text))
    return "<table>" + "".join(rows) + "</table>"


def _begins(lines: list[list[Cell]], row: int, column: int) -> bool:
    cell = lines[row][column]
    if cell.kind in ("fcel", "ecel"):
        return True
    if cell.kind == "lcel":
        return not column
    if cell.kind == "ucel":
        return not row or column >= len(lines[row - 1])
    return not row or not column


def _span(lines: list[list[Cell]], row: int, column: int) -> Span:
    right, below = column + 1, row + 1
    while right < len(lines[row]) and lines[row][right].kind == "lcel":
        right += 1
    while below < len(lines) and column < len(lines[below]) and lines[below][column].kind == "ucel":
        below += 1
    covered = (cell.text for line in lines[row:below] for cell in line[column:right])
    return Span(" ".join(filter(None, covered)), below - row, right - column)


def _html(cell: Span) -> str:
    spans = [(name, n) for name, n in (("rowspan", cell.rows), ("colspan", cell.columns)) if n > 1]
    attributes = "".join(f' {name}="{n}"' for name, n in spans)
    return f"<td{attributes}>{html.escape(cell.text)}</td>"
