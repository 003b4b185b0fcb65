"""Rows and images that come twice, in memory that does not grow with their number: hashes are spooled to a file."""

from __future__ import annotations

import heapq
import tempfile
from array import array
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Keys = np.ndarray[Any, np.dtype[np.uint64]]

AT_ONCE = 1 << 20  # keys held at once: 8 MB, and as much again for their lines and their order


class Spool:
    """Keys of 8 bytes with their lines, in the order of the file."""

    def __init__(self) -> None:
        self._keys: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the spool)
        self._lines: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.count = 0

    def add(self, digests: bytes | bytearray, size: int, places: array[int], offset: int) -> None:
        """Add digests of ``size`` bytes each, of which the first 8 count; ``offset`` is added to the lines."""
        import numpy as np

        keys = np.frombuffer(bytes(digests), dtype=np.uint8).reshape(-1, size)[:, :8]
        self._keys.write(np.ascontiguousarray(keys).tobytes())
        self._lines.write((np.frombuffer(places, dtype=np.uint64) + np.uint64(offset)).tobytes())
        self.count += len(places)

    def parts(self, number: int) -> Iterator[tuple[Keys, Keys]]:
        """(keys, lines) of one ``number``-th of the key space after the other."""
        for part in range(number):
            yield self._part(part, number)

    def _part(self, part: int, number: int) -> tuple[Keys, Keys]:
        import numpy as np

        found: list[tuple[Keys, Keys]] = []
        self._keys.seek(0)
        self._lines.seek(0)
        while chunk := self._keys.read(8 * AT_ONCE):
            keys = np.frombuffer(chunk, dtype=np.uint64)
            lines = np.frombuffer(self._lines.read(len(chunk)), dtype=np.uint64)
            mine = keys % np.uint64(number) == part if number > 1 else slice(None)
            found.append((keys[mine], lines[mine]))
        empty = np.empty(0, np.uint64)
        if not found:
            return empty, empty
        return np.concatenate([k for k, _ in found]), np.concatenate([n for _, n in found])

    def close(self) -> None:
        """Give the files back."""
        self._keys.close()
        self._lines.close()


def _pieces(*spools: Spool) -> int:
    return max(1, -(-max(spool.count for spool in spools) // AT_ONCE))


def repeated(spool: Spool, shown: int) -> tuple[int, list[int]]:
    """(how many entries repeat an earlier one, the lines of the first ``shown`` of them)."""
    import numpy as np

    total, first = 0, []
    for keys, lines in spool.parts(_pieces(spool)):
        ordered = np.sort(keys)
        if not (ordered[1:] == ordered[:-1]).any():  # as a rule: the order of the lines costs as much again
            continue
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        again = lines[order][1:][ordered[1:] == ordered[:-1]]
        total += len(again)
        first += np.sort(again)[:shown].tolist()
    return total, heapq.nsmallest(shown, first)


def shared(spool: Spool, other: Spool, shown: int) -> tuple[int, list[int]]:
    """(how many entries are also in ``other``, the lines of the first ``shown`` of them)."""
    import numpy as np

    total, first, number = 0, [], _pieces(spool, other)
    for (keys, lines), (others, _) in zip(spool.parts(number), other.parts(number)):
        again = lines[np.isin(keys, others)]
        total += len(again)
        first += np.sort(again)[:shown].tolist()
    return total, heapq.nsmallest(shown, first)
