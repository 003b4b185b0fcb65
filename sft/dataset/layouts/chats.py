"""Chats about images: our two formats, messages with parts (OpenAI), LLaVA and ShareGPT, ms-swift, the Cauldron."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sft.dataset.layouts.base import Entry, Found, Layout, Picture, Source, Unusable
from sft.dataset.layouts.pairs import picture_of
from sft.dataset.layouts.records import each, first

ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "model": "assistant"}
ROLES |= {"bot": "assistant", "system": "system", "developer": "system"}
QUIET = "system messages, for which the model's template has no place"
_INLINE = re.compile(r"(?:Picture \d+:\s*)?<img>(.*?)</img>\n?")  # Qwen-VL's
_MARKS = re.compile(r"<(?:image|\|image\|)>\n?")  # ms-swift and LLaVA write a line end behind it
Turn = tuple[str, Any]


def is_chat(record: dict[str, Any]) -> bool:
    """Are these the keys of a chat?"""
    keys = set(record)
    return bool(
        keys & {"messages", "conversations", "conversation", "text_info"}
        or {"query", "response"} <= keys
        or ("texts" in keys and isinstance(record["texts"], list) and keys & {"images", "image"})
    )


def is_ours(record: dict[str, Any]) -> bool:
    """A row in one of our two formats, as validate takes it."""
    if "text_info" in record or "image_info" in record:
        return True
    messages = record.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        return "messages" in record
    odd = {m.get("role") for m in messages} & (set(ROLES) - {"user", "assistant", "system"})
    return not odd and not any(isinstance(m.get("content"), list) for m in messages)


def turns_of(record: dict[str, Any]) -> tuple[tuple[Picture, ...], tuple[Turn, ...], bool]:
    """(images, turns, was there a system message) of a chat.

    Raises:
        Unusable: its parts do not fit each other.
    """
    if "text_info" in record:
        return _erniekit(record)
    pictures: list[Picture] = []
    turns: list[Turn] = []
    quiet, open_ = False, False
    for role, content in _messages(record):
        if role == "system":
            quiet = True
            continue
        text, inline, marks = _content(content, len(turns)) if role == "user" else (_answer(content), [], 0)
        if role != ("assistant" if open_ else "user"):
            raise Unusable("prompts and answers do not alternate: user, assistant, …")
        if role == "user":
            turns.append((str(text).strip(), None))
            pictures += [Picture("", None, len(turns) - 1)] * marks + inline
        else:
            turns[-1] = (turns[-1][0], text)
        open_ = role == "user"
    if open_ or not turns:
        raise Unusable("the last prompt has no answer" if turns else "there is no message")
    return _filled(pictures, _listed(record)), tuple(turns), quiet


def _filled(pictures: list[Picture], listed: list[Picture]) -> tuple[Picture, ...]:
    """The row's images at the places of its marks; without marks they belong to the first prompt."""
    marks = [picture for picture in pictures if not picture.name and picture.content is None]
    if not pictures:
        pictures = marks = [Picture()] * len(listed)
    if len(marks) != len(listed):
        raise Unusable(f"{len(marks)} <image> marks, {len(listed)} images")
    given = iter(listed)
    filled = [p if p not in marks else _at(next(given), p.turn) for p in pictures]
    if not filled:
        raise Unusable("no image")
    return tuple(filled)


def _at(picture: Picture, turn: int) -> Picture:
    return Picture(picture.name, picture.content, turn)


def _listed(record: dict[str, Any]) -> list[Picture]:
    """The images that stand beside the messages."""
    for key in ("images", "image"):
        if key in record:
            value = record[key]
            return [picture_of(item) for item in (value if isinstance(value, list) else [value])]
    return []


def _messages(record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(role, content) of each message of any of these formats."""
    if "query" in record:  # ms-swift 2
        for pair in record.get("history") or []:
            yield "user", pair[0]
            yield "assistant", pair[1]
        yield "user", record["query"]
        yield "assistant", record.get("response")
        return
    if "texts" in record:  # the Cauldron
        for item in record["texts"]:
            if not isinstance(item, dict) or not {"user", "assistant"} <= set(item):
                raise Unusable("texts are no list of {user, assistant}")
            yield "user", item["user"]
            yield "assistant", item["assistant"]
        return
    messages = record.get("messages") or record.get("conversations") or record.get("conversation")
    if not isinstance(messages, list):
        raise Unusable("its messages are null or no list")
    for message in messages:
        if not isinstance(message, dict):
            raise Unusable("a message is no object")
        role = ROLES.get(str(message.get("role", message.get("from", ""))).lower())
        if role is None:
            raise Unusable(f"a message's role is one of {', '.join(ROLES)}")
        yield role, message.get("content", message.get("value"))


def _answer(content: Any) -> Any:
    """An answer as it is, its parts joined: nothing in it is a mark."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    written = [text for text in texts if isinstance(text, str)]
    return "".join(written) if len(written) == len(texts) else None


def _content(content: Any, turn: int) -> tuple[Any, list[Picture], int]:
    """(text, images that stand in it, marks of images that stand elsewhere) of a prompt: a text, or parts."""
    if not isinstance(content, list):
        if not isinstance(content, str):
            return content, [], 0
        inline = [Picture(name.strip(), None, turn) for name in _INLINE.findall(content)]
        content = _INLINE.sub("", content)
        return _MARKS.sub("", content), inline, len(_MARKS.findall(content))
    texts, pictures, marks = [], list[Picture](), 0
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else "text" if isinstance(part, str) else None
        if kind in ("text", "input_text", "output_text"):
            texts.append(part["text"] if isinstance(part, dict) else part)
        elif kind in ("image", "image_url", "input_image"):
            value = next((part[k] for k in ("image", "image_url", "url", "path") if part.get(k)), None)
            marks += value is None
            pictures += [] if value is None else [picture_of(value, turn)]
        else:
            raise Unusable(f"a part of a message is text or image, not {kind}")
    if any(not isinstance(text, str) for text in texts):
        return None, pictures, marks
    joined = "".join(texts)
    return _MARKS.sub("", joined), pictures, marks + len(_MARKS.findall(joined))


def _erniekit(record: dict[str, Any]) -> tuple[tuple[Picture, ...], tuple[Turn, ...], bool]:
    texts, images = record["text_info"], record.get("image_info")
    if (
        not isinstance(texts, list)
        or not isinstance(images, list)
        or not all(isinstance(i, dict) for i in texts + images)
    ):
        raise Unusable("text_info and image_info are no lists of objects")
    tags = [item.get("tag") for item in texts]
    if len(texts) % 2 or tags != ["mask", "no_mask"] * (len(texts) // 2) or not texts:
        raise Unusable("prompts and answers do not alternate: mask, no_mask, …")
    pictures = []
    for item in images:
        index = item.get("matched_text_index", 0)
        if not isinstance(index, (int, float)) or index % 2 or not 0 <= index < len(texts):
            raise Unusable(f"matched_text_index {index} points at no prompt")
        pictures.append(picture_of(item.get("image_url"), int(index) // 2))
    if not pictures:
        raise Unusable("no image")
    turns = [(str(texts[i].get("text") or ""), texts[i + 1].get("text")) for i in range(0, len(texts), 2)]
    return tuple(pictures), tuple(turns), False


def read(source: Source) -> Iterator[Entry]:
    """One row for each chat."""
    return each(source, _row)


def _row(where: str, record: Any) -> Found:
    images, turns, quiet = turns_of(record)
    return Found(where, images, turns, (QUIET,) if quiet else ())


OURS = Layout(
    "a dataset file of ours",
    "rows with `image_info` and `text_info` (ERNIEKit), or `messages` and `images` (PaddleFormers, ms-swift): images "
    "are copied beside the new file, paths of other machines are found again",
    lambda source: is_chat(first(source)) and is_ours(first(source)),
    read,
)
LAYOUT = Layout(
    "a file of chats of another trainer (LLaVA, ShareGPT, OpenAI, ms-swift)",
    "`conversations` with `from` and `value` (LLaVA, ShareGPT), `messages` whose `content` is a list (OpenAI), "
    "`query` and `response` (ms-swift 2), `<img>…</img>` (Qwen-VL), `texts` of `user` and `assistant` (the Cauldron); "
    "as JSON, JSONL or Parquet",
    lambda source: is_chat(first(source)) and not is_ours(first(source)),
    read,
)
