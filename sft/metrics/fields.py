"""Answers in JSON: the F1 of their fields. Version 1.

Source: Kim et al., OCR-free Document Understanding Transformer (Donut, ECCV 2022), field-level F1, as in its published
``JSONParseEvaluator.cal_f1``: a document is the multiset of its fields, each a path of keys and a value as text; items
of a list have no number, so that their order does not count. A field is right if path and value are. Other than there,
the score of several documents is the mean of theirs; null and an empty text are no field; and texts are normalised
(white space, NFC) as everywhere here.

Example: {"total": "12.50", "items": ["tea", "milk"]} against {"total": "12.5O", "items": ["milk", "tea"]}: of three
fields on either side two are right: precision = recall = F1 = 2/3, error 1/3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from sft.metrics.text import normalise
from sft.notation import documents

Fields = Counter[tuple[str, str]]


def fields(text: str) -> Fields | None:
    """(path, value) → how often, of an answer; None where it is no JSON object or list."""
    return None if documents.unreadable(text) else Counter(_flat(documents.parse(text), ""))


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _flat(inner, path)
    elif value is not None and (text := normalise(_text(value))):
        yield path, text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def error(truth: str, recognised: str) -> float:
    """1 - F1 of the fields, 0 (all right) to 1; 1 where truth or answer is no JSON."""
    wanted, found = fields(truth), fields(recognised)
    if wanted is None or found is None:
        return 1.0
    if not wanted and not found:
        return 0.0
    return 1 - 2 * (wanted & found).total() / (wanted.total() + found.total())


def same(truth: str, recognised: str) -> bool:
    """Have both documents the same fields?"""
    wanted = fields(truth)
    return wanted is not None and wanted == fields(recognised)
