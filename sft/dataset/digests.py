"""What identifies rows, questions, documents and lines, so that those that stand twice are found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec
from xxhash import xxh3_64_digest

from sft.dataset.documents import document_of

DIGEST = 16  # bytes: identifies a row's content
LINE_DIGEST = 8  # bytes: the same where images are not looked at
PICTURE = 8  # bytes: identifies an image's content, to find it in the other file
KEY = 8  # bytes: identifies what is asked of an image, or a document

_ENCODE = msgspec.msgpack.Encoder().encode


def row_digest(turns: Sequence[tuple[str, str]], pictures: Sequence[str], places: Sequence[int]) -> bytes:
    """Identifies the content of a row: texts, image contents and to which turns they belong; not their names."""
    return hashlib.blake2b(_ENCODE((turns, pictures, places)), digest_size=DIGEST).digest()


def question_key(prompts: Sequence[str], pictures: Sequence[str]) -> bytes:
    """Identifies what is asked: the images' contents and the prompts, not the answers."""
    return key_of("\0".join((*pictures, *prompts)))


def document_key(folder: str, name: str) -> bytes:
    """Identifies the document of an image, by its path in the folder of its dataset file."""
    document = document_of(name) if "://" in name else f"{folder}/{document_of(name)}"
    return key_of(document)


def key_of(text: str) -> bytes:
    """KEY bytes that identify a text."""
    return xxh3_64_digest(text.encode("utf-8", "surrogatepass"))


def line_hash() -> Callable[[bytes], bytes]:
    """Identifies a line, where images are not looked at: rows are the same if they are so byte by byte."""
    return xxh3_64_digest
