"""Reading a JSONL file as blocks of whole lines: byte ranges for several readers, .gz and .zst, lines without end."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zstandard

from sft.dataset.rules import MAX_LINE
from sft.errors import DatasetError

BLOCK = 1 << 18  # bytes: some thousand rows; larger blocks leave the processor's cache
LFS = b"version https://git-lfs.github.com/spec/v1"  # how a pointer of git-lfs begins
MARK = b"\xef\xbb\xbf"
COMPRESSED = (".gz", ".zst")
_END = ord("\n")
FAULTS = (OSError, EOFError, zstandard.ZstdError)


@dataclass
class Block:
    """Whole lines. ``first`` is the number of the first one, counted from 1 at the start of the range.

    ``overlong``: the block is one line of more than MAX_LINE bytes, of which only the start is kept.
    """

    data: bytes
    first: int
    overlong: bool = False

    def lines(self) -> list[bytes]:
        """The lines without their ends."""
        return self.data.removesuffix(b"\n").split(b"\n")


def count(data: bytes, byte: int) -> int:
    """How often a byte occurs; where it does so often, several times as fast as ``bytes.count``."""
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == byte))


def is_compressed(path: Path) -> bool:
    """Can the file only be read from its start?"""
    return path.suffix in COMPRESSED


def open_file(path: Path) -> IO[bytes]:
    """The file's content, decompressed."""
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.suffix == ".zst":
        # Bounded: a frame that asks for a window of gigabytes is refused.
        stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(path.open("rb"), closefd=True)
        return io.BufferedReader(stream)
    return path.open("rb")


def ranges(path: Path, size: int) -> list[tuple[int, int]]:
    """Cut the file into byte ranges of about ``size``; a compressed file is one range."""
    end = path.stat().st_size
    if is_compressed(path) or end <= size:
        return [(0, end)]
    starts = range(0, end, size)
    return [(start, min(start + size, end)) for start in starts]


def blocks(path: Path, start: int = 0, end: int | None = None) -> Iterator[Block]:
    """The lines that begin in [start, end), in blocks.

    Raises:
        DatasetError: the compressed file is damaged.
    """
    try:
        with open_file(path) as file:
            yield from _blocks(file, start, None if end is None or is_compressed(path) else end)
    except FAULTS as error:
        if not is_compressed(path):
            raise
        remedy = "write the file anew"
        raise DatasetError(f"the compressed file is damaged: {error}", where=str(path), remedy=remedy) from error


def _blocks(file: IO[bytes], start: int, end: int | None) -> Iterator[Block]:
    taken, number, head = start, 1, b""  # taken: offset of the next line's first byte
    if start:
        file.seek(start - 1)
        taken = start - 1 + _skip_line(file)  # a line that began before belongs to the range before
    elif (head := file.read(len(MARK))) == MARK:
        taken, head = len(MARK), b""
    while end is None or taken < end:
        data = head + file.read(BLOCK if end is None else min(BLOCK, max(1, end - taken - len(head))))
        head = b""
        if not data:
            return
        if not data.endswith(b"\n"):
            data += file.readline(MAX_LINE + 1)
        taken += len(data)
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > MAX_LINE:
            taken += _skip_line(file)
            if cut:
                yield Block(data[:cut], number)
                number += count(data, _END)
            yield Block(data[cut : cut + MAX_LINE], number, overlong=True)
            number += 1
            continue
        yield Block(data, number)
        number += count(data, _END) or 1


def _skip_line(file: IO[bytes]) -> int:
    """Read to behind the next line end; the number of bytes."""
    skipped = 0
    while part := file.readline(1 << 20):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line) of all lines that are not blank; an overlong line comes cut."""
    for block in blocks(path):
        if block.overlong:
            yield block.first, block.data
            continue
        for number, line in enumerate(block.lines(), block.first):
            if line.strip():
                yield number, line
