"""Label Studio's exports of an OCR project: JSON (tasks with annotations), JSON-MIN and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sft.dataset.layouts.base import SUFFIXES, Entry, Found, Layout, Picture, Source, Unusable
from sft.dataset.layouts.records import each, first

MIN_KEYS = frozenset({"annotation_id", "annotator", "lead_time", "updated_at", "created_at"})
MIN_TEXTS = ("transcription", "text", "textarea", "answer", "transcript")


def recognise(source: Source) -> bool:
    """Tasks with ``data`` and ``annotations``, or records whose image is an address of Label Studio."""
    record = first(source)
    if isinstance(record.get("data"), dict) and (record.keys() & {"annotations", "completions", "predictions"}):
        return True
    if isinstance(record.get("image"), str) and not record["image"].startswith("/data/") and len(record) == 2:
        return False
    addresses = any(isinstance(value, str) and value.startswith("/data/") for value in record.values())
    if source.name.endswith((".csv", ".tsv")):
        return len(record.keys() & MIN_KEYS) > 1
    return bool(record) and (addresses or bool(record.keys() & MIN_KEYS))


def _image(data: dict[str, Any]) -> str:
    """The value that names an image: which key it has, the project's labelling configuration decides."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    named = [v for v in texts.values() if v.startswith("/data/") or v.partition("?")[0].lower().endswith(SUFFIXES)]
    if len(named) != 1:
        raise Unusable(f"{len(named) or 'no'} values of its data name an image: {', '.join(data)}")
    return named[0]


def annotated(task: dict[str, Any]) -> list[str]:
    """The texts of a task's regions, in the order in which they were drawn."""
    given = task.get("annotations") or task.get("completions") or []
    done = [a for a in given if isinstance(a, dict) and not (a.get("was_cancelled") or a.get("skipped"))]
    if not done:
        raise Unusable("nobody annotated it" + (": it has predictions only" if task.get("predictions") else ""))
    versions = [_texts(annotation.get("result") or []) for annotation in done]
    if any(version != versions[0] for version in versions[1:]):
        raise Unusable(f"{len(versions)} annotations that differ: keep one in Label Studio")
    return versions[0]


def _texts(results: list[Any]) -> list[str]:
    found: list[str] = []
    for result in results:
        if isinstance(result, dict) and str(result.get("type", "")).lower() == "textarea":
            text = (result.get("value") or {}).get("text")
            found += [text] if isinstance(text, str) else [str(item) for item in text or []]
    return found


def _minimal(record: dict[str, Any], column: str) -> Any:
    key = column or next((name for name in MIN_TEXTS if name in record), "")
    if key not in record:
        raise Unusable(f"no transcription; there are: {', '.join(record)}: name it: --text-column NAME")
    return _cell(record[key]) if isinstance(record[key], str) else record[key]


def _cell(text: str) -> Any:
    """The texts of several regions, which stand in one cell of a CSV as a JSON list."""
    try:
        found = json.loads(text) if text.startswith("[") else text
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, list) and all(isinstance(item, str) for item in found) else text


def read(source: Source) -> Iterator[Entry]:
    """One row for each task: the texts of its regions, one below the other."""

    def row(where: str, record: Any) -> Found:
        full = isinstance(record.get("data"), dict)
        answer = annotated(record) if full else _minimal(record, source.options.text_column)
        if isinstance(answer, list) and all(isinstance(text, str) for text in answer):
            answer = "\n".join(answer)
        image = _image(record["data"] if full else record)
        return Found(where, (Picture(image),), (("", answer),))

    return each(source, row)


LAYOUT = Layout(
    "an export of Label Studio",
    "JSON (tasks with `data` and `annotations`), JSON-MIN and CSV, with `/data/local-files/?d=…`, `/data/upload/…` and "
    "percent-encoded names; each task becomes one row, the texts of its regions one below the other",
    recognise,
    read,
)
