"""PaddleOCR and PPOCRLabel: label files of lines and of pages, and table labels.

Sources: PPOCRLabel (Label.txt, rec_gt.txt with crop_img/, fileState.txt, Cache.cach, gt.txt of tables; a new box holds
the placeholder 待识别 or TEMPORARY until somebody transcribes it), PaddleOCR's SimpleDataSet (### and * are text that
nobody can read) and PubTabDataSet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from sft.dataset.layouts.base import SUFFIXES, Entry, Found, Layout, Note, Picture, Places, Problem, Source, Unusable
from sft.dataset.layouts.pairs import IMAGES as COLUMNS
from sft.dataset.layouts.records import each, first, text_of
from sft.errors import DatasetError
from sft.notation import spotting as spotted

IGNORED = ("###", "*", "待识别", "TEMPORARY", "")
UNTRANSCRIBED = "boxes that nobody transcribed (###, *, 待识别, TEMPORARY)"
HEADER = "lines that name the columns"
BLANK = "pages left out, as nobody drew or transcribed any of their boxes"
STATES = ("filestate.txt",)
TABLE = "Table Recognition:"
CACHES = ("cache.cach", "ppocr_cache.cach")
_END = "|".join(re.escape(suffix) for suffix in SUFFIXES)
# What labels of boxes hold, and a line's text does not: read as text, it would be trained.
_BOXES = re.compile(r"\s*[\[{].*[\"'](?:transcription|points|bbox|ocr_info)[\"']\s*:", re.DOTALL)
_SPACED = re.compile(rf"^\s*(\S.*?(?:{_END}))[ ,;|]+(\S.*)$", re.IGNORECASE)


def _head_lines(source: Source) -> list[str]:
    """The whole lines of the start, in any encoding that has ASCII where ASCII was."""
    from sft.dataset.encodings import UnknownEncoding, decoded

    if b"\0" in source.head and source.head[:2] not in (b"\xff\xfe", b"\xfe\xff") and not source.head[:64].count(0) > 8:
        return []
    head = source.head[: len(source.head) // 2 * 2]
    cut = head[: head.rfind(b"\n") + 1] if len(source.head) >= 1 << 16 else head
    try:
        text = decoded(cut, source.options.encoding)
    except UnknownEncoding:
        text = cut.decode("latin-1")
    return [line for line in text.splitlines() if line.strip()][:20]


def recognise(source: Source) -> bool:
    """Lines that begin with an image's name and a tab, or a space."""
    if not source.path.is_file() or source.name.endswith((".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow")):
        return False
    lines = _head_lines(source)
    tabbed = [_is_name(line.partition("\t")[0]) for line in lines if "\t" in line]
    return any(tabbed) or (not tabbed and any(_SPACED.match(line) for line in lines))


def _is_name(cell: str) -> bool:
    """An image's name, or several of one text: ["a.jpg", "b.jpg"]."""
    return cell.strip().rstrip('"]').lower().endswith(SUFFIXES)


def read(source: Source) -> Iterator[Entry]:
    """``image<TAB>text`` of a line, ``image<TAB>[{"transcription", …}, …]`` of a page."""
    if source.name in STATES:
        remedy = f"name the labels: sft import {source.path.parent / 'Label.txt'} FILE.jsonl"
        raise DatasetError(
            "it says which pages PPOCRLabel has done, not what they say", where=str(source.path), remedy=remedy
        )
    if source.name in CACHES:
        remedy = f"confirm them in PPOCRLabel, then: sft import {source.path.parent / 'Label.txt'} FILE.jsonl"
        raise DatasetError("it holds PPOCRLabel's guesses that nobody confirmed", where=str(source.path), remedy=remedy)
    head = _head_lines(source)
    spaced = not any("\t" in line for line in head)
    paged = any(_BOXES.match(line.partition("\t")[2]) for line in head)
    spotting = source.options.asked.measure == "spotting"
    for number, line in enumerate(text_of(source).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{source.path}:{number}"
        name, mark, label = line.rstrip("\r").partition("\t")
        if spaced and (match := _SPACED.match(line.rstrip("\r"))):
            name, label, mark = match.group(1), _unquoted(match.group(2)), " "
        if not mark:
            yield Problem(where, "no tab between image and text: this is no label file of PaddleOCR")
            continue
        if not _is_name(name) and name.lower().strip("# ").replace(" ", "_") in COLUMNS:
            yield Note(HEADER, where)
            continue
        try:
            answer, left = _answer(label, spotting) if not paged or label.strip() != "[]" else ("", 0)
        except Unusable as error:
            yield Problem(where, str(error))
            continue
        yield from (Note(UNTRANSCRIBED, where) for _ in range(left))
        if not answer and (left or paged):
            yield Note(BLANK, where)
            continue
        yield from (Found(where, (Picture(image),), (("", answer),)) for image in _names(name))


def _names(cell: str) -> list[str]:
    """The image of a line, or the images of one text (SimpleDataSet takes one of them at random)."""
    if cell.lstrip().startswith("["):
        try:
            names = json.loads(cell)
        except (ValueError, RecursionError):
            return [cell.strip()]
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return names
    return [cell.strip()]


def _unquoted(text: str) -> str:
    """The text without the quotes of ICDAR's word lists: word_1.png, "Genaxis"."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _answer(label: str, spotting: bool) -> tuple[str | Places, int]:
    """(the text of a label, or its texts with their places, boxes left out); a page's lines in the order in which they
    stand there.

    Raises:
        Unusable: it holds boxes, but not their texts, or is damaged; or it has no places where they are wanted.
    """
    if _BOXES.match(label):
        try:
            entries = json.loads(label)
        except (ValueError, RecursionError) as error:
            raise Unusable(f"its boxes are no JSON: {error}") from error
        if isinstance(entries, list) and all(isinstance(e, dict) and "transcription" in e for e in entries):
            texts = [str(entry["transcription"] or "").strip() for entry in entries]
            kept = [(text, entry) for text, entry in zip(texts, entries) if text not in IGNORED]
            left = len(texts) - len(kept)
            if spotting:
                return Places(tuple((text, _corners(entry)) for text, entry in kept)) if kept else "", left
            return "\n".join(text for text, _ in kept), left
        raise Unusable("its boxes have no transcription")
    if spotting:
        raise Unusable("a text without its place: --task spotting needs labels of pages (Label.txt), with points")
    return label, int(label.strip() in IGNORED)


def _corners(entry: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    """The corners of a box, in px.

    Raises:
        Unusable: it has none.
    """
    try:
        points = [(float(x), float(y)) for x, y in entry["points"]]
        return tuple(spotted.corners_of(points))
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable(f"a box without points: {str(entry)[:60]}") from error


LABELS = Layout(
    "a label file of PaddleOCR",
    "`rec_gt.txt` and lists `image<TAB>text` (or a space); `Label.txt` of PPOCRLabel with the boxes of each page, "
    "without those that nobody transcribed (`###`, `*`, `待识别`, `TEMPORARY`); `--task spotting` keeps their places",
    recognise,
    read,
)


def is_table(record: dict[str, Any]) -> bool:
    """A table label: a file name, and the HTML's tokens and cells."""
    html = record.get("html")
    return "filename" in record and (isinstance(html, dict) or isinstance(record.get("gt"), str))


def recognise_tables(source: Source) -> bool:
    """JSON lines with ``filename`` and ``html``, under any name."""
    if first(source):
        return is_table(first(source))
    if not source.path.is_file() or not source.head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"{"):
        return False
    try:
        line = json.loads(source.head.decode("utf-8-sig", "replace").lstrip().partition("\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(line, dict) and is_table(line)


def table_html(record: dict[str, Any]) -> str:
    """The HTML of a table label: the structure's tokens, with the cells' tokens in their places.

    Raises:
        Unusable: tokens and cells do not fit each other.
    """
    if isinstance(record.get("gt"), str) and "<t" in record["gt"]:
        return str(record["gt"])
    html = record.get("html")
    structure = html.get("structure", {}).get("tokens") if isinstance(html, dict) else None
    cells = html.get("cells") if isinstance(html, dict) else None
    if not isinstance(structure, list) or not isinstance(cells, list):
        raise Unusable("it has no structure and cells")
    texts = iter(["".join(map(str, cell.get("tokens", []))) if isinstance(cell, dict) else "" for cell in cells])
    parts = []
    for token in map(str, structure):
        if token in ("</td>", "</th>"):
            parts.append(next(texts, ""))
        parts.append(token)
    return f"<table>{''.join(parts)}</table>"


def read_tables(source: Source) -> Iterator[Entry]:
    """One row for each table, its HTML as OTSL."""

    def row(where: str, record: Any) -> Found:
        return Found(where, (Picture(str(record["filename"])),), ((TABLE, table_html(record)),))

    return each(source, row)


TABLES = Layout(
    "table labels of PaddleOCR",
    "`gt.txt` of PPOCRLabel's tables and PubTabNet's JSONL: `filename`, `html` with `structure` and `cells`; "
    "the HTML becomes OTSL, the task is always table",
    recognise_tables,
    read_tables,
)
