"""Records with one image and one text: the Hub's imagefolder, CSV lists, tables with image bytes, {name: text}."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sft.dataset.layouts.base import Entry, Found, Layout, Picture, Source, Unusable
from sft.dataset.layouts.records import KINDS, each, first
from sft.dataset.tasks import BUILT_IN

# Usual names of columns. What may be another thing than the text as it is written (ground_truth of Donut: JSON;
# latex: another task) is left to --text-column.
IMAGES = (
    *("image", "images", "file_name", "filename", "image_path", "img", "img_path", "image_url", "image_file"),
    *("path", "file", "ocr"),
)
TEXTS = (
    *("text", "words", "transcription", "transcript", "label", "answer", "ocr_text", "caption", "gt_text"),
    *("output", "response", "suffix"),  # of LLaMA-Factory's alpaca, of PaliGemma
)
PROMPTS = ("prompt", "question", "instruction", "query", "prefix")
_MARK = re.compile(r"<image>\n?")


def columns(record: dict[str, Any], image: str, text: str) -> tuple[str, str]:
    """The names of the image's and the text's column.

    Raises:
        Unusable: there is none, or more than one may be meant.
    """
    return _column(record, "image", image, IMAGES, 0), _column(record, "text", text, TEXTS, 1)


def _column(record: dict[str, Any], kind: str, wanted: str, usual: tuple[str, ...], at: int) -> str:
    lower = {name.lower().strip(): name for name in record}
    named = [lower[name] for name in ([wanted.lower()] if wanted else usual) if name in lower]
    if len(named) == 1 or (kind in named and not wanted):
        return kind if kind in named and not wanted else named[0]
    if len(named) > 1:
        raise Unusable(f"the {kind} may be in {' or '.join(named)}: name it: --{kind}-column {named[0]}")
    others = [name for name in record if name.lower() not in (IMAGES, TEXTS)[1 - at]]
    example = f": name it: --{kind}-column {others[-1]}" if others else ""
    raise Unusable(f"no column {wanted or kind!r}; there are: {', '.join(record)}{example}")


def prompt_of(record: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """(the prompt that a record names, or an empty text; what is to be said about it)."""
    lower = {name.lower().strip(): name for name in record}
    for name in (lower[name] for name in PROMPTS if name in lower):
        if isinstance(record[name], str) and (prompt := _MARK.sub("", record[name]).strip()):
            more = record.get("input") if name.lower() == "instruction" else ""  # alpaca's second half
            prompt = f"{prompt}\n{more.strip()}" if isinstance(more, str) and more.strip() else prompt
            return prompt, (f"prompts taken from the column {name!r}",)
    known = {task.name: task.prompt for task in BUILT_IN.values()}
    task = record[lower["task"]] if "task" in lower else None
    if isinstance(task, str) and task.strip().lower() in known:
        return known[task.strip().lower()], (f"prompts taken from the column {lower['task']!r}",)
    return "", ()


def picture_of(value: Any, turn: int = 0) -> Picture:
    """An image of a record: a path, an address or a data: URI, bytes, or {"bytes", "path"} as ``datasets`` has it.

    Raises:
        Unusable: it is none of these.
    """
    if isinstance(value, list):
        if len(value) != 1:
            raise Unusable(f"{len(value)} images, where the text is of one")
        value = value[0]
    if isinstance(value, dict):
        content, name = value.get("bytes"), value.get("path") or value.get("url") or value.get("image_url") or ""
        if isinstance(content, bytes) and content:
            return Picture(name if isinstance(name, str) else "", content, turn)
        value = name
    if isinstance(value, (bytes, bytearray)) and value:
        return Picture("", bytes(value), turn)
    if isinstance(value, str) and value.strip():
        return Picture(value.strip(), None, turn)
    raise Unusable("no image: its value is null or empty")


def has_columns(source: Source) -> bool:
    """Does a list have a column for images and one for texts, by the usual names or the user's?"""
    options, names = source.options, {name.lower().strip() for name in first(source)}
    return all(
        bool(names & set(usual)) or wanted.lower() in names
        for usual, wanted in ((IMAGES, options.image_column), (TEXTS, options.text_column))
    )


def recognise(source: Source) -> bool:
    """Records with a column for the image and one for the text, or any table: its columns are then asked for."""
    if not first(source):
        return source.name.endswith(KINDS) and source.path.is_file() and not source.name.endswith((".json", ".jsonl"))
    options = source.options
    if source.name.endswith((".json", ".jsonl")) and not (options.image_column or options.text_column):
        return bool({name.lower() for name in first(source)} & set(IMAGES))
    return True


def read(source: Source) -> Iterator[Entry]:
    """One row for each record."""
    options = source.options

    def row(where: str, record: Any) -> Found:
        image, text = columns(record, options.image_column, options.text_column)
        prompt, notes = prompt_of(record)
        return Found(where, (picture_of(record[image]),), ((prompt, record[text]),), notes)

    return each(source, row)


LAYOUT = Layout(
    "a table or list of images and texts",
    "`metadata.jsonl`, `metadata.csv` or `metadata.parquet` of the Hub's imagefolder (`file_name`, `text`); "
    "`labels.csv` (`filename,words`) of EasyOCR and TrOCR; CSV and TSV with or without a header; JSON arrays, JSONL, "
    '`{"a.png": "text"}`; Parquet and Arrow with paths or image bytes; `--image-column`, `--text-column` name others; '
    "prompts of a column `prompt`, `question`, `instruction` (alpaca), … or `task` are kept",
    recognise,
    read,
)
