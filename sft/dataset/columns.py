"""Blocks of plain rows, column by column: rows of one turn and one image, which a typed decoder takes at once."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec

from sft.dataset import rows
from sft.dataset.lines import count

_QUIET_KEYS = 6  # keys of a row of one turn and one image, but for the image's own


class _Mask(msgspec.Struct, tag_field="tag", tag="mask", gc=False):
    text: str


class _NoMask(msgspec.Struct, tag_field="tag", tag="no_mask", gc=False):
    text: str


class _ErnieImage(msgspec.Struct, gc=False):
    image_url: Annotated[str, msgspec.Meta(min_length=1)]
    matched_text_index: Literal[0] = 0


class _ErnieRow(msgspec.Struct, gc=False):
    image_info: tuple[_ErnieImage]
    text_info: tuple[_Mask, _NoMask]


class _User(msgspec.Struct, tag_field="role", tag="user", gc=False):
    content: str


class _Assistant(msgspec.Struct, tag_field="role", tag="assistant", gc=False):
    content: str


class _MessagesRow(msgspec.Struct, gc=False):
    messages: tuple[_User, _Assistant]
    images: tuple[Annotated[str, msgspec.Meta(min_length=1)]]


_ERNIEKIT = msgspec.json.Decoder(_ErnieRow)
_MESSAGES = msgspec.json.Decoder(_MessagesRow)


class Columns(NamedTuple):
    """Rows of one turn and one image, column by column; in the format messages a prompt has its image mark."""

    prompts: list[str]
    answers: list[str]
    images: list[str]


def plain_rows(data: bytes, lines: list[bytes], form: rows.Format) -> Columns | None:
    """The rows of a block if all have one turn and one image and name each key once, and nothing else; else None."""
    try:
        if form == "erniekit":
            ernie = _ERNIEKIT.decode_lines(data)
            texts_ = [row.text_info for row in ernie]
            columns = Columns(
                [t[0].text for t in texts_], [t[1].text for t in texts_], [row.image_info[0].image_url for row in ernie]
            )
            keys = (_QUIET_KEYS + 1) * len(ernie) + data.count(b'"matched_text_index"')
        else:
            rows_ = _MESSAGES.decode_lines(data)
            chats = [row.messages for row in rows_]
            columns = Columns(
                [c[0].content for c in chats], [c[1].content for c in chats], [row.images[0] for row in rows_]
            )
            keys = _QUIET_KEYS * len(rows_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return columns if _is_plain(data, lines, columns, keys) else None


def erniekit_row(prompt: str, answer: str, image: str) -> _ErnieRow:
    """A row of one turn, ready to be encoded."""
    return _ErnieRow((_ErnieImage(image),), (_Mask(prompt), _NoMask(answer)))


def messages_row(prompt: str, answer: str, image: str) -> _MessagesRow:
    """A row of one turn, ready to be encoded; the prompt has its image mark."""
    return _MessagesRow((_User(prompt), _Assistant(answer)), (image,))


def _is_plain(data: bytes, lines: list[bytes], found: Columns, keys: int) -> bool:
    """Is each line one row, with no key more than the known ones?

    The decoder also takes rows over several lines, or several in one. Inside a row no line that ends with } is
    followed by one that starts with {. And a key is followed by a colon, as only texts may hold others.
    """
    if len(found.prompts) != len(lines) or not _begin_and_end(data):
        return False
    return count(data, ord(":")) == keys + sum("".join(column).count(":") for column in found)


def _begin_and_end(data: bytes) -> bool:
    """Does each line start with { and end with }?"""
    import numpy as np

    array = np.frombuffer(data, np.uint8, len(data) - data.endswith(b"\n"))
    inner = np.flatnonzero(array == ord("\n"))
    if not len(array) or (array[0], array[-1]) != (ord("{"), ord("}")):
        return False
    return bool((array[inner - 1] == ord("}")).all() and (array[inner + 1] == ord("{")).all())
