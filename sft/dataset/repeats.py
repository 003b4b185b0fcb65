"""Rows and images that come twice, in memory that does not grow with their number: hashes are spooled to a file."""

from __future__ import annotations

import heapq
import tempfile
from array import array
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Keys = np.ndarray[Any, np.dtype[np.uint64]]

AT_ONCE = 1 << 20  # keys held at once: 8 MB, and as much again for their lines and their order


class Spool:
    """Keys of 8 bytes with their lines, in the order of the file; and the keys alone, each range's in ascending order,
    for the usual case that none comes twice: to merge runs takes a third of the time of sorting.
    """

    def __init__(self) -> None:
        self._keys: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the spool)
        self._lines: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._runs: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.count = self._ordered = 0

    def add(self, digests: bytes | bytearray, size: int, places: array[int], offset: int, run: bytearray) -> None:
        """Add digests of ``size`` bytes each; ``offset`` is added to the lines.

        Args:
            run: their keys as :func:`ordered` gives them; empty where nobody will ask for repeats.
        """
        import numpy as np

        self._keys.write(keys_of(digests, size).tobytes())
        self._runs.write(run)
        self._ordered += len(run) // 8
        self._lines.write((np.frombuffer(places, dtype=np.uint64) + np.uint64(offset)).tobytes())
        self.count += len(places)

    def part(self, part: int, number: int) -> tuple[Keys, Keys]:
        """(keys, lines) of one ``number``-th of the key space, in the order of the file."""
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

    def beside(self, other: Spool, part: int, number: int) -> tuple[Keys, Keys, Keys]:
        """(keys, keys of ``other`` at the same places, lines) of one ``number``-th of the key space."""
        import numpy as np

        found: list[tuple[Keys, Keys, Keys]] = []
        for spool in (self._keys, other._keys, self._lines):
            spool.seek(0)
        while chunk := self._keys.read(8 * AT_ONCE):
            keys, others, lines = (
                np.frombuffer(data, dtype=np.uint64)
                for data in (chunk, other._keys.read(len(chunk)), self._lines.read(len(chunk)))
            )
            mine = keys % np.uint64(number) == part if number > 1 else slice(None)
            found.append((keys[mine], others[mine], lines[mine]))
        empty = np.empty(0, np.uint64)
        keys, others, lines = (np.concatenate([each[at] for each in found] or [empty]) for at in range(3))
        return keys, others, lines

    def any_twice(self, part: int, number: int) -> bool:
        """May any key of one ``number``-th of the key space be there twice?"""
        import numpy as np

        if self._ordered < self.count:
            return True
        found: list[Keys] = []
        self._runs.seek(0)
        while chunk := self._runs.read(8 * AT_ONCE):
            keys = np.frombuffer(chunk, dtype=np.uint64)
            found.append(keys[keys % np.uint64(number) == part] if number > 1 else keys)
        merged = np.sort(np.concatenate(found or [np.empty(0, np.uint64)]), kind="stable")  # finds the runs
        return bool((merged[1:] == merged[:-1]).any())

    def close(self) -> None:
        """Give the files back."""
        for file in (self._keys, self._lines, self._runs):
            file.close()


def keys_of(digests: bytes | bytearray, size: int) -> Keys:
    """The first 8 bytes of each of the digests, which have ``size`` bytes."""
    import numpy as np

    keys = np.frombuffer(bytes(digests), dtype=np.uint8).reshape(-1, size)[:, :8]
    return np.ascontiguousarray(keys).view(np.uint64).ravel()


def ordered(digests: bytes | bytearray, size: int) -> bytearray:
    """The keys of the digests in ascending order."""
    import numpy as np

    return bytearray(np.sort(keys_of(digests, size)))


def _pieces(*spools: Spool) -> int:
    return max(1, -(-max(spool.count for spool in spools) // AT_ONCE))


def repeated(spool: Spool, shown: int) -> tuple[int, list[int]]:
    """(how many entries repeat an earlier one, the lines of the first ``shown`` of them)."""
    import numpy as np

    total, first = 0, []
    number = _pieces(spool)
    for part in range(number):
        if not spool.any_twice(part, number):
            continue
        keys, lines = spool.part(part, number)
        order = np.argsort(keys, kind="stable")
        again = lines[order][1:][keys[order][1:] == keys[order][:-1]]
        total += len(again)
        first += np.sort(again)[:shown].tolist()
    return total, heapq.nsmallest(shown, first)


def conflicting(questions: Spool, answers: Spool, shown: int) -> tuple[int, list[tuple[int, int]]]:
    """(how many rows give another answer to a question than the row with it before, (line, line before) of the first).

    Args:
        questions, answers: keys of the same rows, in the same order.
    """
    import numpy as np

    total, first = 0, list[tuple[int, int]]()
    number = _pieces(questions)
    for part in range(number):
        if not questions.any_twice(part, number):
            continue
        keys, others, lines = questions.beside(answers, part, number)
        order = np.argsort(keys, kind="stable")
        keys, others, lines = keys[order], others[order], lines[order]
        found = np.flatnonzero((keys[1:] == keys[:-1]) & (others[1:] != others[:-1]))
        total += len(found)
        first += zip(lines[found + 1].tolist(), lines[found].tolist())
        first = heapq.nsmallest(shown, first)
    return total, first


def shared(spool: Spool, other: Spool, shown: int) -> tuple[int, list[int]]:
    """(how many entries are also in ``other``, the lines of the first ``shown`` of them)."""
    import numpy as np

    total, first, number = 0, [], _pieces(spool, other)
    for part in range(number):
        keys, lines = spool.part(part, number)
        others, _ = other.part(part, number)
        again = lines[np.isin(keys, others)]
        total += len(again)
        first += np.sort(again)[:shown].tolist()
    return total, heapq.nsmallest(shown, first)
