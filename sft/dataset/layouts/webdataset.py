"""webdataset: tar files in which an image and its text have one key, 000017.jpg and 000017.txt.

Nothing is unpacked to disk under a member's own name, and links are not followed. Source: webdataset's format
description (members of one sample are neighbours; the key is the path up to the first dot of its last part).
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

import msgspec

from sft.dataset.encodings import UnknownEncoding, decoded
from sft.dataset.layouts.base import SUFFIXES, Entry, Found, Layout, Picture, Problem, Source, Unusable
from sft.dataset.layouts.beside import MAX_TEXT, plain_text
from sft.dataset.layouts.chats import is_chat, turns_of
from sft.dataset.layouts.pairs import TEXTS
from sft.dataset.layouts.walking import JUNK_FOLDERS
from sft.errors import DatasetError

MAX_IMAGE = 50_000_000  # bytes: dataset.max_image_bytes' default
PLAIN = ("gt.txt", "txt", "md", "text", "caption", "transcript")
STRUCTURED = ("json", "jsonl")
Part = tuple[str, str, "bytes | str"]  # key, extension, and the content or why it cannot be used


def recognise(source: Source) -> bool:
    """A tar file by its name."""
    return source.path.is_file() and source.path.name.lower().endswith(
        (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
    )


def read(source: Source) -> Iterator[Entry]:
    """One row for each key.

    Raises:
        DatasetError: the archive is damaged, or has no pair of image and text.
    """
    path, pairs, others = source.path, 0, list[Problem]()
    try:
        for key, group in groupby(_members(source), lambda part: part[0]):
            entry = _sample(f"{path}:{key}", list(group), source.options.encoding)
            if isinstance(entry, Problem) and not pairs:
                others.append(entry)  # perhaps this is no webdataset at all
                if len(others) > 1000:
                    break
                continue
            yield from others
            others = []
            pairs += 1
            yield entry
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DatasetError(f"the archive cannot be read: {error}", where=str(path), remedy="write it anew") from error
    if not pairs:
        yield from others
        folder = path.name.partition(".tar")[0]
        remedy = f"mkdir {folder} && tar xf {path} -C {folder}, then: sft import {folder} FILE.jsonl"
        raise DatasetError("in this tar no image has a text of its own name", where=str(path), remedy=remedy)


def _members(source: Source) -> Iterator[Part]:
    with tarfile.open(source.path, "r|*") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if member.isdir() or name.name.startswith((".", "__")) or {p.lower() for p in name.parts} & JUNK_FOLDERS:
                continue
            stem, _, ending = name.name.partition(".")
            key, ending = str(name.with_name(stem)), ending.lower()
            image = f".{ending}".endswith(SUFFIXES)
            if not (image or ending in PLAIN + STRUCTURED):
                continue
            if not member.isfile():
                yield key, ending, f"{member.name} is a link or a device, which is not followed"
            elif name.is_absolute() or ".." in name.parts:
                yield key, ending, f"{member.name} leads out of the archive"
            elif member.size > (MAX_IMAGE if image else MAX_TEXT):
                yield (
                    key,
                    ending,
                    f"{member.name} has {member.size} bytes, more than {MAX_IMAGE if image else MAX_TEXT}",
                )
            else:
                file = archive.extractfile(member)
                yield key, ending, file.read() if file else f"{member.name} cannot be read"


def _sample(where: str, parts: list[Part], encoding: str) -> Found | Problem:
    try:
        images: list[Picture] = []
        answer: Any = None
        record: Any = None
        notes: tuple[str, ...] = ()
        for key, ending, content in parts:
            if isinstance(content, str):
                raise Unusable(content)
            if f".{ending}".endswith(SUFFIXES):
                images.append(Picture(f"{key}.{ending}", content))
            elif ending in STRUCTURED:
                record = msgspec.json.decode(content)
            elif answer is None:
                answer, notes = plain_text(decoded(content, encoding).strip(), f"{key}.{ending}")
        if len(images) != 1:
            raise Unusable(f"{len(images)} images of this key, where there has to be one")
        if answer is None and isinstance(record, dict):
            if is_chat(record):
                _, turns, _ = turns_of({**record, "images": ["x"]})
                return Found(where, tuple(images), turns, notes)
            answer = next((record[name] for name in TEXTS if name in record), None)
        if answer is None:
            raise Unusable("no text of its name beside it (.txt, or .json with a text)")
        return Found(where, tuple(images), (("", answer),), notes)
    except (UnknownEncoding, msgspec.DecodeError, Unusable) as error:
        return Problem(where, str(error))


LAYOUT = Layout(
    "a webdataset shard",
    "`.tar` and `.tar.gz` with `KEY.jpg` and `KEY.txt` (or `KEY.json` with a text or a chat) next to each other; links "
    "and paths that lead out are refused",
    recognise,
    read,
)
