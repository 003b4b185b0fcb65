"""Spotting: each text of a picture with the place where it stands, as PaddleOCR-VL-1.5 and 1.6 write it.

A line for each text: the text, then eight tokens ``<|LOC_0|>`` to ``<|LOC_1000|>``: x and y of the four corners,
clockwise from the top left, in thousandths of the picture's width and height. Sources: PaddleFormers' guide
examples/best_practices/PaddleOCR-VL-1.5/region_ocr.md; PaddleX 3.7, ``post_process_for_spotting``
(paddlex/inference/pipelines/paddleocr_vl/uilts.py), with which a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

SCALE, CORNERS = 1000, 4
PLACE = "<|LOC_"  # begins each token of places
_TOKEN = re.compile(r"<\|LOC_(\d+)\|>")
_RUN = re.compile(r"(?:<\|LOC_\d+\|>)+")
_WORDS = re.compile(r"<\|(?:TEXT_START|TEXT_END|LOC_BEGIN|LOC_END|LOC_SEP)\|>")
Point = tuple[float, float]


class Spot(NamedTuple):
    """One text and its quadrilateral: x1, y1, …, x4, y4 in thousandths of the picture; none where it has no place."""

    text: str
    box: tuple[int, ...]

    def pixels(self, width: int, height: int) -> list[Point]:
        """The corners in px of a picture of that size."""
        xs, ys = self.box[::2], self.box[1::2]
        return [(x / SCALE * width, y / SCALE * height) for x, y in zip(xs, ys)]


def has_tokens(text: str) -> bool:
    """Are there tokens of places in it?"""
    return PLACE in text


def without_tokens(text: str) -> str:
    """The text without its tokens of places."""
    return _TOKEN.sub("", text) if PLACE in text else text


def tokens_of(text: str, characters: int) -> str:
    """So many characters of a text from its first token of places on, for a message."""
    return text[text.index(PLACE) :][:characters]


def parse(text: str) -> list[Spot]:
    """The texts of an answer with their places, as far as it can be read: a text before eight tokens has a place.

    Runs of another length, and text without a place behind it, are texts without one.
    """
    found: list[Spot] = []
    start = 0
    text = _WORDS.sub("", text)
    for run in _RUN.finditer(text):
        before, values = text[start : run.start()].strip(), [int(n) for n in _TOKEN.findall(run[0])]
        start = run.end()
        lines = [line.strip() for line in before.splitlines() if line.strip()]
        found += [Spot(line, ()) for line in lines[:-1]]
        boxes = [values[i : i + 2 * CORNERS] for i in range(0, len(values), 2 * CORNERS)]
        whole = len(values) % (2 * CORNERS) == 0 and max(values) <= SCALE
        for number, box in enumerate(boxes):  # boxes without a text of their own between them belong to empty texts
            words = lines[-1] if lines and not number else ""
            found.append(Spot(words, tuple(box) if whole else ()))
    found += [Spot(line.strip(), ()) for line in text[start:].splitlines() if line.strip()]
    return found


def unreadable(text: str) -> str:
    """Why a text is no spotting answer of which every text has its place; empty for one."""
    if not has_tokens(text):
        return "no tokens of places: each text is followed by eight, such as <|LOC_12|>"
    for number, line in enumerate((line for line in text.splitlines() if line.strip()), 1):
        start = 0
        for run in _RUN.finditer(line):
            values = [int(n) for n in _TOKEN.findall(run[0])]
            if not line[start : run.start()].strip():
                return f"line {number}: a place without a text before it"
            if len(values) != 2 * CORNERS:
                return f"line {number}: {len(values)} tokens of places behind a text, not {2 * CORNERS}"
            if max(values) > SCALE:
                return f"line {number}: <|LOC_{max(values)}|> is over {SCALE}"
            start = run.end()
        if rest := line[start:].strip():
            return f"line {number}: {rest[:40]!r} has no place"
    return ""


def line(text: str, corners: Sequence[Point], width: int, height: int) -> str:
    """One line of an answer.

    Args:
        corners: four points in px, clockwise from the top left.
        width, height: of the picture (px).
    Raises:
        ValueError: there are not four corners, or the text is blank.
    """
    words = " ".join(text.split())
    if len(corners) != CORNERS or not words:
        raise ValueError(f"{len(corners)} corners of {words!r}: a place has {CORNERS}, and a text")
    values = [_scaled(value, side) for x, y in corners for value, side in ((x, width), (y, height))]
    return words + "".join(f"<|LOC_{value}|>" for value in values)


def _scaled(value: float, side: int) -> int:
    return min(SCALE, max(0, round(value * SCALE / side)))


def corners_of(points: Sequence[Point]) -> list[Point]:
    """Four corners, clockwise from the top left, of a polygon: itself where it has four, else its bounding box's.

    The first is the corner with the least x + y. Raises ValueError where there are fewer than two points.
    """
    if len(points) < 2:
        raise ValueError("a place has two corners at least")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if len(points) != CORNERS:
        return [(min(xs), min(ys)), (max(xs), min(ys)), (max(xs), max(ys)), (min(xs), max(ys))]
    turned = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]]))
    clockwise = list(points) if turned >= 0 else list(reversed(points))  # y points down
    first = min(range(CORNERS), key=lambda i: (sum(clockwise[i]), i))
    return clockwise[first:] + clockwise[:first]
