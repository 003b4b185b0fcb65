"""What a model said of one picture, for people as Markdown and for programs as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sft.dataset.pictures import opened
from sft.notation import documents, otsl, spotting


def markdown(measure: str, text: str) -> str:
    """What a model said as Markdown: OTSL becomes an HTML table, LaTeX a displayed formula, a chart's table a table,
    spotting its texts, a line each, and JSON a block of code.
    """
    if measure == "spotting":
        return "\n".join(spot.text for spot in spotting.parse(text))
    if measure == "json" and not documents.unreadable(text):
        return f"```json\n{json.dumps(documents.parse(text), indent=2, ensure_ascii=False)}\n```"
    if measure == "table" and not otsl.problem(text):
        return otsl.to_html(text)
    if measure == "formula":
        return f"$$\n{text.strip().strip('$')}\n$$"
    if measure == "chart":
        lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.strip().splitlines()]
        if lines and len({len(line) for line in lines}) == 1 and len(lines[0]) > 1:
            lines.insert(1, ["---"] * len(lines[0]))
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return text


def facts(measure: str, text: str, image: Path) -> dict[str, Any]:
    """What an answer holds beside its text: of spotting each text with its four corners in px of the image, of JSON the
    document; ``problem`` says why a JSON answer is none.
    """
    if measure == "spotting":
        with opened(image) as page:
            size = page.size
        spots = [
            (spot.text, [[round(x, 1), round(y, 1)] for x, y in spot.pixels(*size)]) for spot in spotting.parse(text)
        ]
        return {"lines": [{"text": said, "box": corners} for said, corners in spots], "size": list(size)}
    if measure == "json":
        problem = documents.unreadable(text)
        return {"problem": problem} if problem else {"data": documents.parse(text)}
    return {}
