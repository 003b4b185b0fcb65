"""Writing shards: the same images under the same names give the same bytes, so that what was written before is kept."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from sft.errors import DatasetError, IntegrityError
from sft.store import records
from sft.store.shards.index import FOLDER, INDEX, Place, content, shard_name

SHARD = 1 << 29  # bytes of images in a shard, about: the disk holds one at a time, a rerun repeats one at most
CHUNK = 1 << 20
MODE = 0o644

Fetch = Callable[[Sequence[str]], Mapping[str, Path]]  # names of a shard → files with their bytes
Shards = list[list[tuple[str, int]]]  # of each shard: (name, size)


def planned(sizes: Iterable[tuple[str, int]], most: int = SHARD) -> Shards:
    """Share images out among shards, in their order.

    Args:
        sizes: (name as rows have it, below the folder; bytes).
        most: bytes of images in a shard; a larger one has its own.
    Raises:
        DatasetError: a name leads out of the folder.
    """
    shards: Shards = []
    taken = 0
    for name, size in sizes:
        check_name(name)
        if not shards or taken + size > most:
            shards.append([])
            taken = 0
        shards[-1].append((name, size))
        taken += size
    return shards


def check_name(name: str) -> None:
    """Raises DatasetError unless a name stays below the folder that it is packed in."""
    path = PurePosixPath(name)
    if not name or name.startswith("/") or ".." in path.parts or "\0" in name or str(path) != name or name == ".":
        remedy = "name images by paths below the folder of their rows"
        raise DatasetError("the name of an image leads out of its folder", value=name[:200], remedy=remedy)


def write_shard(
    target: Path, members: Sequence[tuple[str, int]], files: Mapping[str, Path], number: int
) -> list[Place]:
    """Write a shard; it counts once it has its name. Returns where its images lie.

    Raises:
        IntegrityError: a file has another size than was planned.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            places = [_add(file, name, size, files[name], number) for name, size in members]
            file.write(bytes(2 * tarfile.BLOCKSIZE))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return places


def _add(shard: IO[bytes], name: str, size: int, source: Path, number: int) -> Place:
    shard.write(_header(name, size))
    offset, crc, written = shard.tell(), 0, 0
    with source.open("rb") as file:
        while chunk := file.read(CHUNK):
            crc, written = zlib.crc32(chunk, crc), written + shard.write(chunk)
    if written != size:
        said, found = "an image has changed its size while it was packed", f"{written} bytes, listed with {size}"
        raise IntegrityError(said, where=str(source), value=found, remedy="run again")
    shard.write(bytes(-size % tarfile.BLOCKSIZE))
    return Place(number, crc, offset, size)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, MODE
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def size_of(members: Iterable[tuple[str, int]]) -> int:
    """Bytes of the shard that :func:`write_shard` makes of such images."""
    block = tarfile.BLOCKSIZE
    return 2 * block + sum(len(_header(name, size)) + -(-size // block) * block for name, size in members)


def places_in(shard: Path, number: int) -> dict[str, Place]:
    """Where the images of a shard lie, read from the shard itself; empty where it is torn or missing."""
    found: dict[str, Place] = {}
    try:
        with shard.open("rb", CHUNK) as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            for info in tar:
                file = tar.extractfile(info)
                crc = 0
                while file is not None and (chunk := file.read(CHUNK)):
                    crc = zlib.crc32(chunk, crc)
                found[info.name] = Place(number, crc, info.offset_data, info.size)
    except (OSError, tarfile.TarError, EOFError):
        return {}
    return found


def kept(shard: Path, members: Sequence[tuple[str, int]], number: int) -> list[Place] | None:
    """Where the images lie in a shard that was written before; None unless it is whole and has just these."""
    if not shard.is_file() or shard.stat().st_size != size_of(members):
        return None
    found = places_in(shard, number)
    if [(name, place.size) for name, place in found.items()] != list(members):
        return None
    return list(found.values())


def pack(folder: Path, shards: Shards, fetch: Fetch) -> Iterator[int]:
    """Pack images below ``folder``; yields how many are done. Shards that an earlier call has written are kept; the
    index comes last.

    Args:
        fetch: gives the files of a shard's images.
    Raises:
        IntegrityError: see :func:`write_shard`; what ``fetch`` raises.
    """
    places: list[tuple[str, Place]] = []
    for number, members in enumerate(shards):
        names, target = [name for name, _ in members], folder / FOLDER / shard_name(number)
        lie = kept(target, members, number)
        if lie is None:
            lie = write_shard(target, members, fetch(names), number)
        places += zip(names, lie)
        yield len(places)
    records.write_bytes(folder / FOLDER / INDEX, content([size_of(members) for members in shards], places))
