"""The page of a comparison of any models on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sft.models.heard import Heard
from sft.report import reading, remarks_on, render
from sft.report.instrument import write_instrument
from sft.store import records
from sft.store.contents import Compared


def write_comparison(path: Path, result: Compared, heard: Heard[str], examples: int) -> int:
    """Write the page: scores, differences to the first model, and the rows to look through, the worst of the best
    model first.

    Args:
        examples: rows whose pictures are in the page itself, at most.
    Returns: how many scripts of pictures lie beside it (see :mod:`sft.report.instrument`).
    """
    best, first = best_of(result), heard.models[0]
    compared_with = first if first != best else heard.models[-1]
    rows, scripts = write_instrument(path.parent, heard, best, compared_with, examples)
    read = reading(result["read_by"])
    facts: dict[str, Any] = {"result": result, "reading": read, "rows": rows}
    facts["remarks"] = [remark for remark in comparison_remarks(result) if remark != read]  # it is no warning
    facts |= {"worst": best, "spotting": heard.has_places}
    records.write_text(path, render("comparison.html.jinja", **facts))
    return scripts


def best_of(result: Compared) -> str:
    """The model with the lowest error in all; the first of equals."""
    return min(result["models"], key=lambda model: result["scores"][model]["all"]["error"])


def comparison_remarks(result: Compared) -> list[str]:
    """What whoever reads the scores has to know; see :func:`sft.report.remarks`."""
    totals = {model: result["scores"][model]["all"] for model in result["models"]}
    read = reading(result["read_by"])
    said = remarks_on(totals, result["rows"], result["of_rows"], result["documents"], result["max_new_tokens"])
    return [*said, read] if read else said
