"""Records on the volumes: a step's output is a folder with one record, written last. No record, no output.

Files are written to a temporary name, synced to disk and renamed, so that a reader sees the old content or the new,
never a torn one.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RECORD = "record.json"
CHUNK = 1 << 20  # bytes


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 atomically; see :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write atomically: temporary name, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """The file's JSON, or None where it is missing, torn or not JSON: done means that it parses."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a step's output folder, or None where the step has not finished."""
    record = read_json(folder / RECORD)
    return record if isinstance(record, dict) else None


def write_record(folder: Path, record: Mapping[str, object]) -> None:
    """Write the folder's record; call it last."""
    write_json(folder / RECORD, record)


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that a rename in it outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> str:
    """sha256 (hex) of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def write_hashed(blocks: Iterable[bytes], target: Path) -> str:
    """Write ``blocks`` to ``target`` and return the sha256 (hex) of all: hashed beside the writing, not read again."""
    digest, pending = hashlib.sha256(), None
    with target.open("wb") as file, ThreadPoolExecutor(1) as hasher:
        for block in blocks:
            if pending is not None:
                pending.result()
            pending = hasher.submit(digest.update, block)
            file.write(block)
    return digest.hexdigest()


def blocks_of(path: Path) -> Iterator[bytes]:
    """A file's content, in blocks of 4 MiB."""
    with path.open("rb") as file:
        while block := file.read(4 * CHUNK):
            yield block


Manifest = dict[str, dict[str, Any]]


def files_below(folder: Path) -> Iterable[Path]:
    """Regular files below ``folder`` in sorted order; temporary files (leading dot) and records are left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.name != RECORD:
            yield path


def manifest(folder: Path) -> Manifest:
    """Relative name → ``{"size": bytes, "sha256": hex}`` of each file below ``folder``."""
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": hash_file(path)}
        for path in files_below(folder)
    }


def manifest_hash(files: Manifest) -> str:
    """One hash for a whole folder: the identity of a model."""
    return fingerprint({name: entry["sha256"] for name, entry in files.items()})


def broken_files(folder: Path, files: Manifest, *, content: bool = True) -> list[str]:
    """What differs from the manifest, as ``name: reason``; an empty list means that the folder is whole.

    Args:
        content: compare hashes too, not just sizes.
    """
    problems = []
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif path.stat().st_size != entry["size"]:
            problems.append(f"{name}: {path.stat().st_size} bytes instead of {entry['size']}")
        elif content and hash_file(path) != entry["sha256"]:
            problems.append(f"{name}: its sha256 differs")
    return problems
