"""Tables in HTML and Markdown, turned into OTSL where that needs no decision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

from sft.notation import otsl, pipes

_OPENING = re.compile(r"<(?:!doctype html|html|body|div|table|thead|tbody|tfoot|tr|td|th)\b", re.IGNORECASE)
_FENCED = re.compile(r"```\w*[ \t]*\n(.*)\n?```", re.DOTALL)  # as language models hand a table over
_DROPPED = ("style", "script", "title")
MAX_SPAN = 1000  # lines or columns that a cell may cover, as in HTML's own rules for columns


def kind(text: str) -> str:
    """HTML or Markdown, where a text is a table in one of them; else empty."""
    text = _unfenced(text)
    if _OPENING.match(text):
        return "HTML"
    return "Markdown" if pipes.has_rule(text) and not pipes.unreadable(text) else ""


def to_otsl(text: str) -> str:
    """A table in HTML or Markdown as OTSL.

    Raises:
        ValueError: it is neither, or what it says needs a decision.
    """
    found, text = kind(text), _unfenced(text)
    if found == "HTML":
        return from_html(text)
    if found == "Markdown":
        return from_grid([[(cell, 1, 1) for cell in line] for line in pipes.parse(text)])
    raise ValueError("no table in HTML or Markdown")


def _unfenced(text: str) -> str:
    """The text without a code fence around the whole, and white space."""
    fenced = _FENCED.fullmatch(text.strip())
    return (fenced.group(1) if fenced else text).strip()


def from_html(text: str) -> str:
    """A table in HTML as OTSL: merged cells become <lcel>, <ucel> and <xcel>, missing ones <ecel>.

    Text keeps its words; line breaks are spaces, and what marks letters (bold, sup, …) is left out. A caption, text
    outside the cells, two tables or a table in a cell need a decision.

    Raises:
        ValueError: it is no such table, or its cells overlap.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    if reader.problem:
        raise ValueError(reader.problem)
    return from_grid(reader.lines)


Cells = Sequence[tuple[str, int, int]]  # text, and the lines and columns that the cell covers


def from_grid(lines: Sequence[Cells]) -> str:
    """OTSL of a table whose lines name the cells that begin in them, as HTML does.

    Example: [[("a", 1, 2)], [("b", 1, 1), ("c", 1, 1)]] → "<fcel>a<lcel><nl><fcel>b<fcel>c<nl>".

    Raises:
        ValueError: there is no cell, cells overlap, or a text has a token of OTSL.
    """
    grid: list[dict[int, str]] = [{} for _ in lines]
    for row, line in enumerate(lines):
        column = 0
        for text, rows, columns in line:
            while column in grid[row]:
                column += 1
            if otsl.has_token(text):
                raise ValueError(f"a cell has a token of OTSL in its text: {text[:40]!r}")
            _place(grid[row : row + (rows or len(lines))], column, columns, text)
    width = max((max(line, default=-1) + 1 for line in grid), default=0)
    if not width:
        raise ValueError("a table without a cell")
    return "".join("".join(line.get(at, "<ecel>") for at in range(width)) + "<nl>" for line in grid)


def _place(lines: Sequence[dict[int, str]], column: int, columns: int, text: str) -> None:
    for down, line in enumerate(lines):
        for right in range(columns):
            if column + right in line:
                raise ValueError(f"cells overlap at {text[:40]!r}")
            first = f"<fcel>{text}" if text else "<ecel>"
            line[column + right] = (("<lcel>" if right else first), ("<xcel>" if right else "<ucel>"))[bool(down)]


class _Reader(HTMLParser):
    """Gathers a table's cells, and the first thing that needs a decision."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[list[tuple[str, int, int]]] = []
        self.problem = ""
        self._tables = 0
        self._skipped = 0
        self._cell: tuple[list[str], int, int] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._tables += 1
            if self._tables > 1:
                self._says("a table in a cell" if self._cell else "more than one table")
        elif tag == "caption":
            self._says("a caption, which OTSL has no place for")
        elif tag in _DROPPED:
            self._skipped += 1
        elif tag == "tr":
            self._end_cell()
            self.lines.append([])
        elif tag in ("td", "th"):
            self._end_cell()
            if not self.lines:
                self.lines.append([])
            self._cell = ([], self._span(attrs, "rowspan"), self._span(attrs, "colspan") or 1)
        elif tag == "img":
            self._says("an image in a cell")
        elif tag in ("br", "p", "li", "div") and self._cell:
            self._cell[0].append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._end_cell()
        elif tag in _DROPPED:
            self._skipped -= 1

    def handle_data(self, data: str) -> None:
        if self._skipped:
            return
        if self._cell:
            self._cell[0].append(data)
        elif data.strip():
            self._says(f"text outside the cells: {data.strip()[:40]!r}")

    def close(self) -> None:
        super().close()
        self._end_cell()
        self.lines = self.lines if any(self.lines) else []

    def _span(self, attrs: list[tuple[str, str | None]], name: str) -> int:
        given = (dict(attrs).get(name) or "1").strip()
        if not given.isdecimal() or int(given) > MAX_SPAN:
            self._says(f"{name}={given!r}")
            return 1
        return int(given)

    def _end_cell(self) -> None:
        if self._cell:
            words, rows, columns = self._cell
            self.lines[-1].append((" ".join("".join(words).split()), rows, columns))
            self._cell = None

    def _says(self, problem: str) -> None:
        self.problem = self.problem or problem
