"""The index of packed images: name → place, a fixed number of bytes for each, in ascending order of the names' hashes.

In memory it is the file's bytes: 40 MB for a million images, whatever their names; a look-up is a search in them.

    8 bytes ``sftshard`` · version, shards (uint32) · images, bytes of all images (uint64)
    for each shard its size (uint64)
    for each image BLAKE2b-128 of its name · shard, CRC-32 of its bytes (uint32) · offset, size (uint64); big-endian
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sft.errors import IntegrityError

FOLDER = "packed"
INDEX = "index.bin"
MAGIC, VERSION = b"sftshard", 1
AGAIN = "remove the set's folder on the data volume, and run again: it is packed anew"
_HEAD = struct.Struct(">8sIIQQ")
_SIZE = struct.Struct(">Q")
_ENTRY = struct.Struct(">16sIIQQ")
_KEY = 16  # bytes


class Place(NamedTuple):
    """Where an image lies: ``offset`` of its first byte in the shard, ``size`` (in bytes), ``crc`` of its bytes."""

    shard: int
    crc: int
    offset: int
    size: int


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:06d}.tar"


def key_of(name: str) -> bytes:
    """What a name is found by."""
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=_KEY).digest()


def content(sizes: Sequence[int], places: Iterable[tuple[str, Place]]) -> bytes:
    """The bytes of an index.

    Args:
        sizes: of the shards, in bytes.
        places: (name, where it lies), each name once.
    """
    entries = sorted(_ENTRY.pack(key_of(name), *place) for name, place in places)
    total = sum(_ENTRY.unpack(entry)[4] for entry in entries)
    head = _HEAD.pack(MAGIC, VERSION, len(sizes), len(entries), total)
    body = head + b"".join(map(_SIZE.pack, sizes)) + b"".join(entries)
    return body + zlib.crc32(body).to_bytes(4, "big")


@dataclass(frozen=True)
class Index:
    """An index that has been read. ``sizes`` of the shards and ``total`` of all images in bytes."""

    sizes: tuple[int, ...]
    count: int
    total: int
    _entries: bytes

    @classmethod
    def read(cls, path: Path) -> Index:
        """Read the file.

        Raises:
            FileNotFoundError: there is none.
            IntegrityError: it is torn, or no index.
        """
        body = path.read_bytes()
        try:
            magic, version, shards, count, total = _HEAD.unpack_from(body)
            start = _HEAD.size + shards * _SIZE.size
            end = start + count * _ENTRY.size
            if (magic, version, len(body)) != (MAGIC, VERSION, end + 4):
                raise ValueError("it is torn, or of another version")
            if zlib.crc32(body[:end]) != int.from_bytes(body[end:], "big"):
                raise ValueError("its bytes are not those that were written")
        except (struct.error, ValueError) as error:
            said = "the index of packed images cannot be used"
            raise IntegrityError(said, where=str(path), value=str(error), remedy=AGAIN) from error
        sizes = tuple(_SIZE.unpack_from(body, _HEAD.size + at * _SIZE.size)[0] for at in range(shards))
        return cls(sizes, count, total, body[start:end])

    def find(self, name: str) -> Place | None:
        """Where the image of that name lies; None where there is none."""
        key, at = key_of(name), bisect_left(range(self.count), key_of(name), key=self._key)
        if at == self.count or self._key(at) != key:
            return None
        return Place(*_ENTRY.unpack_from(self._entries, at * _ENTRY.size)[1:])

    def _key(self, at: int) -> bytes:
        return self._entries[at * _ENTRY.size : at * _ENTRY.size + _KEY]


def is_packed(folder: Path) -> bool:
    """Has the folder packed images?"""
    return os.path.isfile(folder / FOLDER / INDEX)
