"""Writing a dataset file: under a temporary name, in its place only when it is whole."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import zstandard

from sft.errors import InputError


@contextmanager
def replacing(path: Path, *, force: bool = False) -> Iterator[IO[bytes]]:
    """Write ``path`` (.gz and .zst are compressed); an error leaves nothing behind.

    Raises:
        InputError: the file exists, and ``force`` does not say that it may go.
    """
    if path.is_dir():
        remedy = f"name a file in it, such as {path / 'all.jsonl'}"
        raise InputError("it is a folder, and a file is to be written", where=str(path), remedy=remedy)
    if path.exists() and not force:
        raise InputError("the file exists", where=str(path), remedy="choose another name, or add --force")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _opened(temporary, path.suffix) as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        if error.filename is None:  # a write that the disk refuses does not say where
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, suffix: str) -> Iterator[IO[bytes]]:
    with path.open("wb") as raw:
        if suffix == ".gz":
            with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:  # the same rows give the same bytes
                yield packed  # type: ignore[misc]
        elif suffix == ".zst":
            with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as stream:
                yield stream
        else:
            yield raw
        raw.flush()
        os.fsync(raw.fileno())
