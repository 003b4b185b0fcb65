"""The rules of a dataset, as data: what each says, how bad a breach is, and what to do about it.

Sources: ERNIEKit's OCR-VL guide (image_info/text_info) and PaddleFormers' messages format.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_TURNS = 8  # question-and-answer pairs in one row
MAX_LINE = 16 * 1024 * 1024  # bytes
IMAGE_TYPES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
TASKS = {
    "OCR:": "ocr",
    "Table Recognition:": "table",
    "Formula Recognition:": "formula",
    "Chart Recognition:": "chart",
}


@dataclass(frozen=True)
class Rule:
    """One rule: ``says`` completes the sentence "the rule is that …"."""

    id: str
    says: str
    remedy: str
    error: bool = True  # False: a warning, which is counted and shown but stops nothing
    in_schema: bool = False  # the JSON schema in configs/ says it too


_RULES = (
    Rule("line-size", f"a line has at most {MAX_LINE >> 20} MiB", "split the row, or take images out of the text"),
    Rule("json", "each line is one JSON object in UTF-8", "write one object per line, for example with json.dumps"),
    Rule("format", "all rows of a file have one format", "convert the row, or move it to a file of its own"),
    Rule(
        "keys",
        "a row has the format's keys with the right types",
        "compare with configs/dataset.schema.json",
        True,
        True,
    ),
    Rule("turns", f"a row has 1 to {MAX_TURNS} pairs of prompt and answer", "split the row", True, True),
    Rule(
        "tags-alternate",
        "prompts and answers alternate: mask, no_mask, … (user, assistant, …)",
        "give every prompt (mask, user) its answer (no_mask, assistant), and start with a prompt",
        True,
        True,
    ),
    Rule("text-empty", "prompts and answers are not blank", "write the text, or leave the row out", True, True),
    Rule("image-none", "a row has at least one image", "name its image, or leave the row out", True, True),
    Rule(
        "image-index",
        "matched_text_index points at a mask item of text_info",
        "use the position (from 0) of the prompt that the image belongs to",
        True,
        True,
    ),
    Rule("image-count", "there are as many <image> marks as images", "write one <image> in a prompt for each image"),
    Rule("image-remote", "images lie in the dataset folder", "download the image and name its relative path"),
    Rule("image-outside", "image paths stay inside the folder of the JSONL file", "copy the image into the folder"),
    Rule("image-missing", "each image exists", "add the file, or correct its path"),
    Rule("image-bytes", "an image file is not larger than dataset.max_image_bytes", "compress it, or raise the bound"),
    Rule("image-type", f"an image is one of {', '.join(IMAGE_TYPES)}", "convert it, or replace the damaged file"),
    Rule("image-pixels", "an image has at most dataset.max_image_pixels", "scale it down, or raise the bound"),
    Rule("prompt", f"a prompt is one of {', '.join(TASKS)}", "use the base model's prompt for the task", False),
    Rule("duplicate", "rows differ from each other", "keep one of them", False),
    Rule("leak-image", "no image is in both the training and the held-out set", "take it out of one of them", False),
    Rule("leak-row", "no row is in both the training and the held-out set", "take it out of one of them", False),
)
RULES = {rule.id: rule for rule in _RULES}
