"""Rows: two formats on disk, one form in memory.

A typed decoder takes the good rows; only a row that it refuses is taken apart in plain Python to name every rule that
it breaks. Both ways agree (a property test compares them with each other and with the JSON schema).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from sft.dataset.rules import MAX_TURNS

Format = Literal["erniekit", "messages"]
Breach = tuple[str, str]  # rule id, value found
IMAGE_MARK = "<image>"
ANSWERED_BY = "answered_by"  # the key of a row whose answer is a model's own: which one it was
_TEXT = re.compile(r"\S")


@dataclass(frozen=True)
class Sample:
    """One row: ``turns`` are (prompt, answer) pairs without image marks; ``images`` are (path or URL, turn number)."""

    images: tuple[tuple[str, int], ...]
    turns: tuple[tuple[str, str], ...]

    @property
    def answer(self) -> str:
        """The text to recognise: all answers, one below the other."""
        return "\n".join(answer for _, answer in self.turns)


class _ErnieImage(msgspec.Struct):
    image_url: str
    matched_text_index: int | float = 0


class _ErnieText(msgspec.Struct):
    text: str
    tag: Literal["mask", "no_mask"]


class _ErnieRow(msgspec.Struct):
    image_info: list[_ErnieImage]
    text_info: list[_ErnieText]


class _Message(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: str


class _MessagesRow(msgspec.Struct):
    messages: list[_Message]
    images: list[str]


class _Marked(msgspec.Struct):
    answered_by: Any = None


_MARKED = msgspec.json.Decoder(_Marked)
_ERNIEKIT = msgspec.json.Decoder(_ErnieRow)
_MESSAGES = msgspec.json.Decoder(_MessagesRow)


def detect(line: bytes) -> Format | None:
    """The format of a row by its keys, or None."""
    try:
        keys = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if "text_info" in keys or "image_info" in keys:
        return "erniekit"
    return "messages" if "messages" in keys else None


def decode(line: bytes, form: Format) -> Sample | None:
    """The row, or None where it breaks a rule (:func:`breaches` then says which)."""
    try:
        return _from_erniekit(_ERNIEKIT.decode(line)) if form == "erniekit" else _from_messages(_MESSAGES.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def model_of(line: bytes) -> str:
    """The model whose own answer the row is; an empty text where a person, or nobody knows who, has written it."""
    try:
        said = _MARKED.decode(line).answered_by
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return str(said) if said else ""


def _from_erniekit(row: _ErnieRow) -> Sample | None:
    texts = row.text_info
    if not row.image_info or not 2 <= len(texts) <= 2 * MAX_TURNS or len(texts) % 2:
        return None
    for number, item in enumerate(texts):
        if item.tag != ("no_mask" if number % 2 else "mask") or not _TEXT.search(item.text):
            return None
    images = []
    for image in row.image_info:
        index = int(image.matched_text_index) if image.matched_text_index == image.matched_text_index // 1 else -1
        if not image.image_url or index % 2 or not 0 <= index < len(texts):
            return None
        images.append((image.image_url, index // 2))
    turns = tuple((texts[i].text, texts[i + 1].text) for i in range(0, len(texts), 2))
    return Sample(tuple(images), turns)


def _from_messages(row: _MessagesRow) -> Sample | None:
    messages = row.messages
    if not row.images or not all(row.images) or not 2 <= len(messages) <= 2 * MAX_TURNS or len(messages) % 2:
        return None
    turns: list[tuple[str, str]] = []
    places: list[int] = []
    for number, message in enumerate(messages):
        if message.role != ("assistant" if number % 2 else "user") or _blank(message.content, message.role):
            return None
        if number % 2:
            turns.append((turns.pop()[0], message.content))
        else:
            places += [number // 2] * message.content.count(IMAGE_MARK)
            turns.append((message.content.replace(IMAGE_MARK, ""), ""))
    if len(places) != len(row.images):
        return None
    return Sample(tuple(zip(row.images, places)), tuple(turns))


def _blank(text: str, tag: str) -> bool:
    """A prompt of the messages format needs more than its image marks."""
    return not _TEXT.search(text.replace(IMAGE_MARK, "") if tag == "user" else text)


def to_messages(sample: Sample) -> dict[str, Any]:
    """The row in PaddleFormers' format; each prompt is preceded by one ``<image>`` for each of its images."""
    messages: list[dict[str, str]] = []
    for number, (prompt, answer) in enumerate(sample.turns):
        marks = IMAGE_MARK * sum(turn == number for _, turn in sample.images)
        messages += [{"role": "user", "content": marks + prompt}, {"role": "assistant", "content": answer}]
    ordered = sorted(sample.images, key=lambda image: image[1])
    return {"messages": messages, "images": [path for path, _ in ordered]}


def to_erniekit(sample: Sample) -> dict[str, Any]:
    """The row in ERNIEKit's format."""
    texts: list[dict[str, str]] = []
    for prompt, answer in sample.turns:
        texts += [{"text": prompt, "tag": "mask"}, {"text": answer, "tag": "no_mask"}]
    images = [{"matched_text_index": 2 * turn, "image_url": path} for path, turn in sample.images]
    return {"image_info": images, "text_info": texts}


def breaches(line: bytes, form: Format) -> list[Breach]:
    """Every rule of structure that a row breaks, with the value found; an empty list for a good row."""
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [("json", f"{error}: {_short(line.decode('utf-8', 'replace'))}")]
    if not isinstance(row, dict):
        return [("json", f"a JSON {type(row).__name__}")]
    return list(_erniekit_breaches(row) if form == "erniekit" else _messages_breaches(row))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _erniekit_breaches(row: dict[str, Any]) -> Iterator[Breach]:
    texts = row.get("text_info")
    yield from _text_breaches(texts, "text_info", "tag", "text", ("mask", "no_mask"))
    count = len(texts) if isinstance(texts, list) else 0
    images = row.get("image_info")
    if not isinstance(images, list):
        yield "keys", f"image_info: {_short(images)}"
        return
    if not images:
        yield "image-none", "image_info: []"
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("image_url"), str) or not image["image_url"]:
            yield "keys", f"image_info[{number}]: {_short(image)}"
            continue
        index = image.get("matched_text_index", 0)
        if isinstance(index, bool) or not isinstance(index, (int, float)):
            yield "keys", f"image_info[{number}].matched_text_index: {_short(index)}"
        elif index != index // 1 or index % 2 or not 0 <= index < count:
            yield "image-index", f"{index}, while text_info has {count} items"


def _messages_breaches(row: dict[str, Any]) -> Iterator[Breach]:
    messages, images = row.get("messages"), row.get("images")
    yield from _text_breaches(messages, "messages", "role", "content", ("user", "assistant"))
    if not isinstance(images, list) or not all(isinstance(image, str) and image for image in images):
        yield "keys", f"images: {_short(images)}"
        return
    if not images:
        yield "image-none", "images: []"
    if isinstance(messages, list):
        prompts = [m.get("content") for m in messages if isinstance(m, dict) and m.get("role") == "user"]
        marks = sum(prompt.count(IMAGE_MARK) for prompt in prompts if isinstance(prompt, str))
        if marks != len(images):
            yield "image-count", f"{marks} marks, {len(images)} images"


def _text_breaches(items: Any, where: str, tag: str, text: str, tags: tuple[str, str]) -> Iterator[Breach]:
    if not isinstance(items, list):
        yield "keys", f"{where}: {_short(items)}"
        return
    good = True
    for number, item in enumerate(items):
        if tag == "role" and isinstance(item, dict) and isinstance(item.get(tag), str) and item[tag] not in tags:
            yield "role", f"{where}[{number}].role: {_short(item[tag])!r}"
            good = False
        elif not isinstance(item, dict) or item.get(tag) not in tags or not isinstance(item.get(text), str):
            yield "keys", f"{where}[{number}]: {_short(item)}"
            good = False
        elif _blank(item[text], item[tag]):
            yield "text-empty", f"{where}[{number}].{text}: {_short(item[text])!r}"
    found = [item[tag] for item in items] if good else []
    if good and (len(items) % 2 or any(name != tags[number % 2] for number, name in enumerate(found))):
        yield "tags-alternate", _short(", ".join(found)) or "nothing"
    if not 2 <= len(items) <= 2 * MAX_TURNS:
        yield "turns", f"{len(items)} items in {where}"


def duplicate_keys(line: bytes) -> list[str]:
    """Keys that an object of the row names more than once."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in items)
        twice.extend(key[:40] for key, count in counts.items() if count > 1)
        return dict(items)

    try:
        json.loads(line, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return []
    return twice
