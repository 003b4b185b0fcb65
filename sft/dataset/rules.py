"""The rules of a dataset, as data: what each says, how bad a breach is, and what to do about it.

Sources: ERNIEKit's OCR-VL guide (image_info/text_info) and PaddleFormers' messages format.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MAX_TURNS = 8  # question-and-answer pairs in one row
MAX_LINE = 16 * 1024 * 1024  # bytes
BYTES_PER_TOKEN = 3  # of UTF-8, where no tokenizer is at hand: a stated estimate, on the safe side for Latin text
SHORT = 8  # characters
DEAR = 2.0  # tokens a character: where a script costs more, most of its characters are spelled in bytes
IMAGE_TYPES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")


@dataclass(frozen=True)
class Rule:
    """One rule: ``says`` completes the sentence "the rule is that …"."""

    id: str
    says: str
    remedy: str
    error: bool = True  # False: a warning, which is counted and shown but stops nothing
    in_schema: bool = False  # the JSON schema in configs/ says it too
    fixed: bool = True  # trainers fail on it: no configuration makes it a warning


_RULES = (
    Rule("line-size", f"a line has at most {MAX_LINE >> 20} MiB", "split the row, or take images out of the text"),
    Rule("json", "each line is one JSON object in UTF-8", "write one object per line, for example with json.dumps"),
    Rule("duplicate-key", "an object names each key once", "keep one of the two: readers disagree about which counts"),
    Rule("format", "all rows of a file have one format", "convert the row, or move it to a file of its own"),
    Rule(
        "keys",
        "a row has the format's keys with the right types",
        "compare with configs/dataset.schema.json",
        True,
        True,
    ),
    Rule(
        "role",
        "a message is the user's or the assistant's: system and tool messages are not taken",
        "write into the prompt what the model has to know, or leave the message out",
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
    Rule(
        "image-remote",
        "images lie in the dataset folder",
        "sft fetch-images FILE NEW.jsonl fetches http and https; use aws s3 cp, hf download, … for others",
    ),
    Rule("image-inline", "images are files", "sft fetch-images FILE NEW.jsonl writes data: URIs as files"),
    Rule("image-lfs", "an image is here, not git-lfs's pointer to it", "git lfs pull in the clone of the dataset"),
    Rule(
        "image-outside", "image paths stay inside the folder of the JSONL file", "copy it there; cp -rL follows links"
    ),
    Rule(
        "image-missing",
        "each image exists",
        "add the file, or correct its path; sft import FILE NEW.jsonl finds names of other machines",
    ),
    Rule("image-bytes", "an image file is not larger than dataset.max_image_bytes", "compress it, or raise the bound"),
    Rule("image-type", f"an image is one of {', '.join(IMAGE_TYPES)}", "convert it, or replace the damaged file"),
    Rule("image-pixels", "an image has at most dataset.max_image_pixels", "scale it down, or raise the bound"),
    Rule("image-truncated", "an image file is whole", "copy it anew from where it came"),
    Rule("image-small", "an image has at least 4 px in each direction", "remove the row: there is no text"),
    Rule("image-ratio", "an image is at most 200 times as long as wide", "cut it: the processor refuses it"),
    Rule("tokens", "image and text fit train.max_seq_len", "split the row, scale the image down, or raise the bound"),
    Rule(
        "tokens-estimate",
        "image and text fit train.max_seq_len, at one token for each byte of text: more are impossible",
        "--model FOLDER of the base model counts exactly; a run does so where the Hub can be reached",
        False,
    ),
    Rule(
        "tokens-enlarged",
        "image and text fit train.max_seq_len also where the trainer's augmentation enlarges the image",
        "raise train.max_seq_len or scale the image down: the trainer leaves the row out whenever it does not fit",
        False,
    ),
    Rule("image-shrunk", "the processor keeps a quarter of an image's pixels", "cut it into parts, or scale it", False),
    Rule(
        "image-mode",
        "an image is grey or RGB with 8 bits",
        "nothing, where a viewer shows it as it should be: trainer and reader get it as RGB with 8 bits",
        False,
    ),
    Rule("image-animated", "an image has one frame", "keep the frame that is meant: only the first is read", False),
    Rule(
        "image-rotated",
        "an image lies as it is stored",
        "nothing, where a viewer shows it upright: it is turned as its Exif says, for trainer and reader",
        False,
    ),
    Rule("control", "texts have no control or invisible format characters", "remove them", False),
    Rule("replacement", "texts have no U+FFFD", "read the source with its right encoding", False),
    Rule("normal-form", "texts are in Unicode's form NFC", "unicodedata.normalize('NFC', text)", False),
    Rule(
        "character-bytes",
        "each character is in the base model's vocabulary",
        "write it as usual where that is the same text; else nothing: the model spells it in bytes, which lengthens "
        "the row, and learns it from many rows only",
        False,
    ),
    Rule(
        "character-lost",
        "the base model's tokenizer has tokens for each character",
        "write it otherwise: it becomes the unknown token, which no answer says",
        False,
    ),
    Rule(
        "script-tokens",
        f"a script costs at most {DEAR:g} tokens a character",
        "nothing: mind train.max_seq_len and the price; a base model that knows the script reads it better",
        False,
    ),
    Rule(
        "placeholder",
        "texts have no <image>, <video> or <audio> of their own",
        "write it otherwise, such as [image]: trainers count pictures by it, and drop the row or train on another",
    ),
    Rule(
        "special-token",
        "texts have none of the model's special tokens, such as </s> or <|end_of_sentence|>",
        "write it otherwise, such as &lt;/s&gt;: the tokenizer makes it one token, which ends the answer or breaks it",
    ),
    Rule(
        "table-token", "only tables have OTSL's tokens", "use the prompt Table Recognition:, or write them out", False
    ),
    Rule(
        "near-empty",
        f"an answer of up to {SHORT} characters has a letter, digit or symbol",
        "write the whole text, or leave the row out",
        False,
    ),
    Rule(
        "table-format",
        "a table is in OTSL (<fcel>, <ecel>, <nl>, …): its scores can be computed from nothing else",
        "sft convert FILE NEW_FILE --to erniekit writes tables in HTML and Markdown as OTSL; write others anew",
    ),
    Rule("latex", "a formula is LaTeX that parses: groups pair and nest, no ^ or _ at an end", "correct the answer"),
    Rule(
        "chart-format",
        "a chart is a table: a header and values, cells between |",
        "write it so: | year | sales |, then a line for each year",
    ),
    Rule(
        "spotting-format",
        "spotting is lines of a text and eight tokens of places, <|LOC_0|> to <|LOC_1000|>: x, y of its four corners",
        "write each line so: Total<|LOC_102|><|LOC_80|>…; sft import Label.txt FILE.jsonl --task spotting makes them",
    ),
    Rule("json-format", "answers to a prompt with measure json are a JSON object or list", "write it with json.dumps"),
    Rule(
        "json-keys",
        "an answer in JSON has the keys that dataset.prompts declares",
        "add the key (null where the document has no such value), or leave it out of dataset.prompts",
    ),
    Rule(
        "place-token",
        "tokens of places, <|LOC_0|> to <|LOC_1000|>, are only for a base model that has them",
        "train PaddleOCR-VL-1.5 or 1.6 (base_model.repo), or leave these rows out: the tokenizer would spell them",
    ),
    Rule(
        "place-augmented",
        "places are true of the picture that is trained on: no augmentation turns or pads it",
        "train.augment=none",
        False,
    ),
    Rule("otsl", "a table is rectangular OTSL: cells, each line closed by <nl>", "correct the answer", False),
    Rule("chart", "a chart's table has as many cells in each line", "correct the answer", False),
    Rule(
        "prompt",
        "a prompt is one of the base model's tasks, or declared",
        "use the base model's prompt for the task, or declare your own and how it is judged: dataset.prompts",
        False,
    ),
    Rule("duplicate", "rows differ from each other", "keep one of them", False),
    Rule(
        "conflict",
        "the same images and prompt have one answer",
        "look at both rows: correct the wrong one, and keep one",
        False,
    ),
    Rule(
        "leak-document",
        "no document has pages in both the training and the held-out set",
        "move them to one side; sft split keeps the pages of a document together",
        False,
    ),
    Rule("leak-image", "no image is in both the training and the held-out set", "take it out of one of them", False),
    Rule(
        "leak-dev",
        "no document, image or row is in both the dev and the held-out set: what has chosen cannot judge",
        "move it to one side; sft split --dev shares documents out among all three",
    ),
    Rule(
        "own-answer",
        "rows that judge or choose, held-out, dev and guard ones, are no model's own answers (answered_by)",
        "train on them (dataset.mix), and judge by rows that a person has read; where one has, take answered_by out",
    ),
    Rule("leak-row", "no row is in both the training and the held-out set", "take it out of one of them", False),
)
# An error that a trainer survives, and every warning, can be raised, lowered or switched off (dataset.rules).
_FREE = (
    "tokens",
    "special-token",
    "table-format",
    "latex",
    "chart-format",
    "spotting-format",
    "json-format",
    "json-keys",
)
RULES = {rule.id: replace(rule, fixed=rule.error and rule.id not in _FREE) for rule in _RULES}
