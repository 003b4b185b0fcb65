"""Tables in HTML or Markdown as the OTSL that the model writes."""

from __future__ import annotations

import re
from importlib import import_module, util

from sft.dataset.layouts.base import Unusable

_HTML = re.compile(r"<(?:html|body|div|table|thead|tbody|tr|td)\b", re.IGNORECASE)
CONVERTED = "tables in HTML or Markdown, written as OTSL"


def table_text(text: str) -> tuple[str, str]:
    """(a table as OTSL, what was done to it; empty where it is left as it is).

    Raises:
        Unusable: it is a table in HTML or Markdown that cannot be said in OTSL without a decision.
    """
    if util.find_spec("sft.tables") is None:
        if _HTML.match(text.strip()):
            raise Unusable("its text is an HTML table: the model writes OTSL (<fcel>…<nl>), so write it as that")
        return text, ""
    tables = import_module("sft.tables")
    if not tables.kind(text):
        return text, ""
    try:
        return tables.to_otsl(text), CONVERTED
    except ValueError as error:
        raise Unusable(f"its table cannot be written as OTSL: {error}") from error
