"""The rows of a report, to look through: what was said of each, where it differs from the truth, and its picture.

The page holds what is shown of all rows as JSON and draws fifty of them at a time (instrument.js.jinja). Pictures of
the worst rows are in the page; those of all others lie beside it, in a few scripts (a page that is opened as a file may
load scripts, and nothing else) that are loaded when a row of theirs comes into view.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, ImageDraw
from rapidfuzz.distance import Levenshtein

from sft import metrics
from sft.dataset.pictures import as_seen, opened
from sft.models.heard import Heard
from sft.notation import spotting
from sft.store import records

THUMBNAIL = 480  # px: longest side of a row's picture
PLAIN = 20_000  # bytes: a larger PNG becomes a JPEG, where that is smaller
QUALITY = 80  # of such a JPEG
IN_PAGE, A_SCRIPT = 8_000_000, 4_000_000  # bytes of pictures in the page, and of a script beside it
PICTURES = "pictures"  # the folder of the scripts
TRUE, SAID = "#198754", "#dc3545"  # colours of places
M = TypeVar("M", bound=str)  # what models are called


def write_instrument(
    folder: Path, heard: Heard[M], of: M, reference: M, examples: int, notes: Sequence[str] = ()
) -> tuple[str, int]:
    """(what the page needs of the rows, as two elements; how many scripts of pictures were written beside it).

    Args:
        folder: of the page; the scripts come to ``pictures/1.js``, ``pictures/2.js``, …
        of: the model whose worst rows stand first; ``reference``: what it is compared with at first.
        examples: rows whose pictures are in the page, at most; those of all others lie beside it.
        notes: what is said of each row; then the rows stand in their own order.
    """
    order = list(range(len(notes))) or heard.worst(of)
    where: dict[int, int] = {}  # row → the script that has its pictures
    shown = _pictures(heard, of, order)
    inside = _filled(shown, IN_PAGE, examples)
    scripts = 0
    while beside := _filled(shown, A_SCRIPT, len(order)):
        scripts += 1
        where |= dict.fromkeys(beside, scripts)
        script = f"sftPictures({scripts}, {_json(beside)});\n"
        records.write_text(folder / PICTURES / f"{scripts}.js", script)
    facts = {
        "models": list(heard.texts),
        "of": of,
        "reference": reference,
        "sorted": "file" if notes else "error",
        "rows": [{**_row(heard, row, of, where.get(row, 0)), "note": notes[row] if notes else ""} for row in order],
    }
    return _element("rows", facts) + _element("pictures", inside), scripts


def _filled(shown: Iterator[tuple[int, list[str]]], size: int, most: int) -> dict[int, list[str]]:
    """The next rows' pictures: so many rows at most, and no more once they come to that size (bytes)."""
    taken: dict[int, list[str]] = {}
    for row, pictures in islice(shown, most):
        taken[row] = pictures
        size -= sum(map(len, pictures))
        if size <= 0:
            break
    return taken


def _row(heard: Heard[M], number: int, of: M, script: int) -> dict[str, Any]:
    row = heard.rows[number]
    truth = words(row.truth, row.measure)
    return {
        "at": number,
        "row": row.number,
        "turn": len(row.earlier) + 1,
        "task": row.task,
        "script": metrics.script(row.truth),
        "length": metrics.length(row.truth),
        "images": [path.name for path in row.shown],
        "truth": truth,
        "doubtful": heard.doubtful(number, of),
        "pictures": script,  # 0: in the page
        "said": {model: _said(heard, model, number, truth) for model in heard.texts},
    }


def _said(heard: Heard[M], model: M, number: int, truth: str) -> dict[str, Any]:
    judged, text = heard.judged[model], words(heard.texts[model][number], heard.rows[number].measure)
    right = bool(judged.exact[number])
    return {
        "text": text,
        "error": round(float(judged.error[number]), 4),
        "right": right,
        "cut": bool(heard.cut[model][number]),
        "steps": [] if right else steps(truth, text),
    }


def steps(truth: str, said: str) -> list[list[int]]:
    """How to come from truth to answer, in characters: (equal, then missing, then said instead), again and again.

    A shortest way (Levenshtein). Example: ("1234", "1294") → [[2, 1, 1], [1, 0, 0]]
    """
    found: list[list[int]] = []
    for step in Levenshtein.opcodes(truth, said):
        missing, more = step.src_end - step.src_start, step.dest_end - step.dest_start
        if step.tag == "equal":
            found.append([missing, 0, 0])
            continue
        found = found or [[0, 0, 0]]
        found[-1][1] += missing
        found[-1][2] += more
    return found


def words(text: str, measure: str) -> str:
    """An answer for people: of spotting the texts alone, as a picture shows their places."""
    return "\n".join(spot.text for spot in spotting.parse(text)) if measure == "spotting" else text


def _pictures(heard: Heard[M], of: M, order: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
    """(row, its pictures) in that order, a few at once: Pillow decodes outside of Python's lock."""

    def shown(number: int) -> list[str]:
        row = heard.rows[number]
        if not row.shown:
            return []
        pictures = [picture(path) for path in row.shown[:-1]]
        if row.measure != "spotting":
            return [*pictures, picture(row.shown[-1])]
        places = [(spotting.parse(row.truth), TRUE), (spotting.parse(heard.texts[of][number]), SAID)]
        return [*pictures, picture(row.shown[-1], places)]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in _parts(order, 64):  # no more than so many wait to be written
            yield from zip(part, pool.map(shown, part))


def _parts(order: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (order[start : start + size] for start in range(0, len(order), size))


def picture(path: Path, places: Sequence[tuple[Sequence[spotting.Spot], str]] = ()) -> str:
    """A data URI of the image, scaled down to at most 480 px.

    Args:
        places: what is outlined on it, and in which colour; then it has up to 960 px.
    """
    size = THUMBNAIL * (2 if places else 1)
    with opened(path) as image:
        image.draft(None, (2 * size, 2 * size))  # a JPEG is decoded no larger than that
        small = as_seen(image)[0]
    small.thumbnail((size, size))
    for spots, colour in places:
        draw = ImageDraw.Draw(small)
        for spot in spots:
            if spot.box:
                corners = spot.pixels(*small.size)
                draw.line([*corners, corners[0]], fill=colour, width=2)
    kind, content = "png", _encoded(small, "PNG")
    if len(content) > PLAIN and len(smaller := _encoded(small, "JPEG", quality=QUALITY)) < len(content):
        kind, content = "jpeg", smaller
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _element(name: str, value: Any) -> str:
    return f'<script type="application/json" id="{name}">{_json(value)}</script>\n'


def _json(value: Any) -> str:
    """JSON that cannot end the element that it stands in, whatever a model has said."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
