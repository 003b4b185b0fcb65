"""The JSON schema of a row (configs/dataset.schema.json), made from the same constants as the rules.

``python -m sft.dataset.schema`` prints it. It says what the rules of structure say, except ``image-count``, which
compares two lists; a property test holds the two together.
"""

from __future__ import annotations

import json
from typing import Any

from sft.dataset.rules import MAX_TURNS


def _item(tag: str, name: str, text: str, pattern: str) -> dict[str, Any]:
    values = {tag: {"const": name}, text: {"type": "string", "pattern": pattern}}
    return {"type": "object", "required": [tag, text], "properties": values}


# A prompt of the messages format needs more than its <image> marks.
_ITEMS = {
    "mask": _item("tag", "mask", "text", "\\S"),
    "no_mask": _item("tag", "no_mask", "text", "\\S"),
    "user": _item("role", "user", "content", "^(?!(?:<image>|\\s)*$)"),
    "assistant": _item("role", "assistant", "content", "\\S"),
}


def _turns(*names: str) -> list[dict[str, Any]]:
    return [{"$ref": f"#/$defs/{name}"} for _ in range(MAX_TURNS) for name in names]


def _exactly(turns: int, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "minItems": 2 * turns, "maxItems": 2 * turns, "prefixItems": items[: 2 * turns]}


def erniekit() -> dict[str, Any]:
    """ERNIEKit's format. The range of matched_text_index depends on the number of turns: one branch for each."""
    items = _turns("mask", "no_mask")
    branches = []
    for turns in range(1, MAX_TURNS + 1):
        indexes = {"enum": list(range(0, 2 * turns, 2))}
        image = {
            "type": "object",
            "required": ["image_url"],
            "properties": {"image_url": {"type": "string", "minLength": 1}, "matched_text_index": indexes},
        }
        images = {"type": "array", "minItems": 1, "items": image}
        branches.append({"properties": {"image_info": images, "text_info": _exactly(turns, items)}})
    return {"title": "erniekit", "type": "object", "required": ["image_info", "text_info"], "anyOf": branches}


def messages() -> dict[str, Any]:
    """PaddleFormers' messages format."""
    items = _turns("user", "assistant")
    turns = {"anyOf": [_exactly(count, items) for count in range(1, MAX_TURNS + 1)]}
    images = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
    properties = {"messages": turns, "images": images}
    return {"title": "messages", "type": "object", "required": ["messages", "images"], "properties": properties}


def schema() -> dict[str, Any]:
    """One row in either format."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One row of a PaddleOCR-VL fine-tuning dataset",
        "anyOf": [{"$ref": "#/$defs/erniekit"}, {"$ref": "#/$defs/messages"}],
        "$defs": {"erniekit": erniekit(), "messages": messages(), **_ITEMS},
    }


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))
