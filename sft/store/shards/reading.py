"""Reading packed images where they lie: in a shard, by offset."""

from __future__ import annotations

import os
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from sft.errors import IntegrityError
from sft.store.shards.index import AGAIN, FOLDER, INDEX, Index, Place, is_packed, shard_name

READ_AHEAD = 1 << 20  # bytes: images that lie behind each other come with one look at the volume


class Packed:
    """The packed images of a folder. One shard is open at a time; :meth:`close` lets go of it, because Modal reloads no
    volume of which a file is open.

    Args:
        root: the folder, resolved; names are relative to it.
    Raises:
        IntegrityError: the index is torn.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._start = root.rstrip("/") + "/"
        self._folder = Path(root) / FOLDER
        self.index = Index.read(self._folder / INDEX)
        self._file = _Open()
        self._closed = weakref.finalize(self, _Open.close, self._file)

    @classmethod
    def above(cls, folder: Path) -> Packed | None:
        """The packed images that a folder's names may mean: its own, or those of the nearest folder above it."""
        place = Path(os.path.realpath(folder))
        found = next((each for each in (place, *place.parents) if is_packed(each)), None)
        return None if found is None else cls(str(found))

    def find(self, path: str) -> Place | None:
        """Where the image lies that an absolute path, without links and "..", names; None where it is not packed."""
        return self.index.find(path[len(self._start) :]) if path.startswith(self._start) else None

    def read(self, place: Place) -> bytes:
        """An image's bytes.

        Raises:
            IntegrityError: the shard is missing or torn, or other bytes lie there than were packed.
        """
        path = self._folder / shard_name(place.shard)
        try:
            found = self._file.read(path, place, self.index.sizes[place.shard])
        except (OSError, ValueError) as error:
            said = "a shard of packed images is torn or missing"
            raise IntegrityError(said, where=str(path), value=str(error), remedy=AGAIN) from error
        if zlib.crc32(found) != place.crc:
            said = "a packed image is not the one that was packed"
            raise IntegrityError(said, where=f"{path} at byte {place.offset}", remedy=AGAIN)
        return found

    def read_all(self, places: Iterable[Place]) -> Iterator[tuple[Place, bytes]]:
        """The same of many, in the order in which they lie."""
        for place in sorted(places):
            yield place, self.read(place)

    def close(self) -> None:
        """Let go of the open shard."""
        self._file.close()


class _Open:
    """The shard that is open, and the bytes that were read ahead."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._descriptor = -1
        self._start, self._ahead = 0, b""

    def read(self, path: Path, place: Place, size: int) -> bytes:
        if path != self._path:
            self.close()
            self._descriptor, self._path = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), path
            if (found := os.fstat(self._descriptor).st_size) != size:
                self.close()
                raise ValueError(f"{found} bytes instead of {size}")
        at = place.offset - self._start
        if not 0 <= at <= at + place.size <= len(self._ahead):
            near = 0 <= at <= len(self._ahead) + READ_AHEAD  # else somebody reads here and there
            self._ahead = _whole(self._descriptor, place.offset, place.size, READ_AHEAD if near else 0)
            self._start, at = place.offset, 0
        return self._ahead[at : at + place.size]

    def close(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)
            self._path, self._start, self._ahead = None, 0, b""


def _whole(descriptor: int, offset: int, least: int, more: int) -> bytes:
    parts: list[bytes] = []
    taken = 0
    while taken < least:
        part = os.pread(descriptor, max(least, more) - taken, offset + taken)
        if not part:
            raise ValueError(f"it ends before byte {offset + least}")
        parts.append(part)
        taken += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
