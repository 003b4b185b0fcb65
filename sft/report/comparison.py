"""The page of a comparison of any models on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sft.report import reading, remarks_on, render, shown_rows
from sft.store import records
from sft.store.contents import Compared

if TYPE_CHECKING:
    from sft.models.held_out import HeldOutRow


def write_comparison(
    path: Path,
    result: Compared,
    rows: Sequence[HeldOutRow],
    texts: Mapping[str, Sequence[str]],
    examples: int,
    cut: Mapping[str, Sequence[bool]],
) -> None:
    """Write the page: scores, differences to the first model, and example rows, the worst of the best model first.

    Args:
        texts: model → its answers in the order of the rows; ``cut``: which of them were cut off.
    """
    best = best_of(result)
    shown, has_places = shown_rows(rows, texts, best, examples, cut)
    facts: dict[str, Any] = {
        "result": result,
        "remarks": comparison_remarks(result),
        "worst": best,
        "spotting": has_places,
    }
    records.write_text(path, render("comparison.html.jinja", examples=shown, **facts))


def best_of(result: Compared) -> str:
    """The model with the lowest error in all; the first of equals."""
    return min(result["models"], key=lambda model: result["scores"][model]["all"]["error"])


def comparison_remarks(result: Compared) -> list[str]:
    """What whoever reads the scores has to know; see :func:`sft.report.remarks`."""
    totals = {model: result["scores"][model]["all"] for model in result["models"]}
    read = reading(result["read_by"])
    said = remarks_on(totals, result["rows"], result["of_rows"], result["documents"], result["max_new_tokens"])
    return [*said, read] if read else said
