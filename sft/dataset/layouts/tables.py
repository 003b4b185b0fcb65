"""Tables in HTML or Markdown as the OTSL that the model writes."""

from __future__ import annotations

from sft.dataset.layouts.base import Unusable
from sft.notation import tables

CONVERTED = "tables in HTML or Markdown, written as OTSL"


def table_text(text: str) -> tuple[str, str]:
    """(a table as OTSL, what was done to it; empty where it is left as it is).

    Raises:
        Unusable: it is a table in HTML or Markdown that cannot be said in OTSL without a decision.
    """
    if not tables.kind(text):
        return text, ""
    try:
        return tables.to_otsl(text), CONVERTED
    except ValueError as error:
        raise Unusable(f"its table cannot be written as OTSL: {error}") from error
