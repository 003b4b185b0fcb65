"""What is said in an evaluation's report after it was written: the export's check, the decision.

Apart from :mod:`sft.report`, as the decision is made where nothing is installed that draws pages.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from sft.store import records

# Each stands twice in the page: what lies between is said in the place of what was said before.
EXPORT = "<!-- export -->"
DECISION = "<!-- decision -->"


def put(folder: Path, mark: str, words: str, **facts: Any) -> None:
    """Say the words between the marks of the page in an evaluation's folder.

    Args:
        folder: has report.html and report.json; one without is left as it is.
        facts: what report.json learns.
    """
    page, known = folder / "report.html", records.read_json(folder / "report.json")
    if known is None or not page.is_file():
        return
    records.write_json(folder / "report.json", {**known, **facts})
    begin, found, rest = page.read_text(encoding="utf-8").partition(mark)
    if found:
        records.write_text(page, f"{begin}{mark}<p>{html.escape(words)}</p>{rest[rest.index(mark) :]}")
