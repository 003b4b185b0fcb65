"""The page of labels that are probably wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sft.models.heard import Heard
from sft.models.questions import Weight
from sft.report import render
from sft.report.instrument import write_instrument
from sft.store import records
from sft.store.doubts import Doubted

MOST = math.log(1e6)  # nats: no page says more than "a million times"


def write_doubtful(path: Path, result: Doubted, heard: Heard[str], weights: Sequence[Weight], examples: int) -> int:
    """Write the page: the doubtful rows in the order given, with both readings.

    Args:
        weights: of each row.
        examples: rows whose pictures are in the page itself, at most.
    Returns: how many scripts of pictures lie beside it (see :mod:`sft.report.instrument`).
    """
    notes = [times(weight) for weight in weights]
    rows, scripts = write_instrument(path.parent, heard, result["model"], result["base"], examples, notes)
    facts: dict[str, Any] = {"result": result, "rows": rows, "spotting": heard.has_places}
    records.write_text(path, render("doubtful.html.jinja", **facts))
    return scripts


def times(weight: Weight) -> str:
    """How much likelier the model holds something else, in words."""
    if weight.odds >= MOST:
        return "something else is over a million times likelier"
    return f"something else is {math.exp(weight.odds):,.0f} times likelier"
