"""A dataset file that several machines read: each takes a run of its ranges, and what they came to is merged.

What a share came to is one file of parts (:func:`write`), in the order of the dataset file. Whoever merges reads them
one after the other (:func:`merged`), so that its memory is that of one part. A part is some :data:`FOLD` rows.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from sft.dataset.lines import ranges
from sft.dataset.parts import Options, Part
from sft.dataset.workers import scan_all
from sft.errors import TransientError

RANGE = 1 << 18  # bytes that a worker takes at once: each row means to look at a file
LEAST = 1 << 14
A_SHARE = 8  # ranges of a share at least, where the file has so many
FOLD = 65_536  # rows of a part: some 5 MB
VERSION = 1

_ENCODE, _DECODE = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()
_SIZE = 8  # bytes of a number in front of each part


def pieces(path: Path, share: int, shares: int) -> list[tuple[int, int]]:
    """The byte ranges of one share; those of all shares, one after the other, are the file's."""
    size = path.stat().st_size
    every = ranges(path, min(RANGE, max(LEAST, size // (shares * A_SHARE))))
    return every[len(every) * share // shares : len(every) * (share + 1) // shares]


def scan(path: Path, options: Options, share: int, shares: int, workers: int) -> Iterator[Part]:
    """What a share came to, in parts of bounded size.

    Raises:
        DatasetError: the compressed file is damaged.
        SftError: a worker was killed.
    """
    mine = pieces(path, share, shares)
    folded = Part()
    for part in scan_all(path, mine, options, workers) if mine else ():
        folded.then(part, options.shown)
        if folded.rows >= FOLD:
            yield folded
            folded = Part()
    yield folded


def write(target: Path, parts: Iterable[Part], size: int) -> int:
    """Write the parts of a share; returns its rows. The file counts once it has its name.

    Args:
        size: bytes of the dataset file that was read.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, rows = target.with_name(f".{target.name}.{os.getpid()}"), 0
    with temporary.open("wb") as file:
        _put(file.write, {"version": VERSION, "size": size})
        for part in parts:
            rows += part.rows
            _put(file.write, _plain(part))
        _put(file.write, {"end": rows})
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    return rows


def read(source: Path, size: int) -> Iterator[Part]:
    """The parts of a share, one at a time.

    Args:
        size: bytes of the dataset file now.
    Raises:
        TransientError: there is no such file, it is torn, or it is of another version of the dataset file.
    """
    remedy = "run again: the share is read anew"
    try:
        with source.open("rb") as file:
            head = _take(file.read)
            if head != {"version": VERSION, "size": size}:
                raise TransientError("the dataset file changed while it was read", where=str(source), remedy=remedy)
            rows = 0
            while "end" not in (told := _take(file.read)):
                part = _part(told)
                rows += part.rows
                yield part
            if told["end"] != rows:
                raise ValueError("rows are missing")
    except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise TransientError(
            f"a share of the validation is not there: {error}", where=str(source), remedy=remedy
        ) from error


def merged(folder: Path, path: Path, split: str, shares: int) -> Iterator[tuple[int, Part]]:
    """(end of the share, a part of it) of all shares, in the order of the dataset file.

    Raises:
        TransientError: see :func:`read`.
    """
    size = path.stat().st_size
    for share in range(shares):
        mine = pieces(path, share, shares)
        for part in read(folder / name(split, share), size):
            yield mine[-1][1] if mine else 0, part


def name(split: str, share: int) -> str:
    """The file of a share's parts."""
    return f"{split}-{share:04d}.parts"


def _put(write: Any, value: dict[str, Any]) -> None:
    content = _ENCODE.encode(value)
    write(len(content).to_bytes(_SIZE, "big"))
    write(content)


def _take(read: Any) -> dict[str, Any]:
    head = read(_SIZE)
    content = read(int.from_bytes(head, "big"))
    value = _DECODE.decode(content)
    if len(head) < _SIZE or not isinstance(value, dict):
        raise ValueError("it ends in the middle")
    return value


def _plain(part: Part) -> dict[str, Any]:
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    return {key: value.tobytes() if isinstance(value, array) else value for key, value in values.items()}


def _part(values: dict[str, Any]) -> Part:
    part = Part()
    for key, value in values.items():
        kind = type(getattr(part, key))
        if kind is array:
            setattr(part, key, array("Q", value))
        elif kind is list:
            part.shown = [tuple(entry) for entry in value]
        else:
            setattr(part, key, kind(value))
    return part
