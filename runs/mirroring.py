"""A folder of the outputs volume on this machine, whole or not at all. Needs no Prefect."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from compute.base import Compute
from sft.errors import TransientError
from sft.processes import alone_at
from sft.store import records

SYNCED = ".synced.json"  # name → [size, mtime in ns, sha256]: what was verified, so that a rerun need not read it again


def mirror(compute: Compute, place: str, files: records.Manifest, target: Path) -> tuple[int, int]:
    """Make ``target`` hold exactly ``files`` of the outputs volume; returns the number of files and bytes copied.

    A second run that copies to the same folder waits, and then finds it up to date.
    """
    with alone_at(target):
        return _mirror(compute, place, files, target)


def _mirror(compute: Compute, place: str, files: records.Manifest, target: Path) -> tuple[int, int]:
    good = _good_files(target, files)
    if len(good) == len(files):
        return 0, 0
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    copied = 0
    for name, entry in files.items():
        path = temporary / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in good:
            os.link(target / name, path)
            continue
        if compute.get("outputs", f"{place}/{name}", path) != entry["sha256"]:
            shutil.rmtree(temporary)
            raise TransientError("a copied file does not have the hash of its manifest", where=f"{place}/{name}")
        copied += 1
    seen = {name: [*_stat(temporary / name), entry["sha256"]] for name, entry in files.items()}
    records.write_json(temporary / SYNCED, seen)
    _swap(temporary, target)
    return copied, sum(entry["size"] for name, entry in files.items() if name not in good)


def _good_files(folder: Path, files: records.Manifest) -> set[str]:
    """Names of the files that are as the manifest says; one that has not been touched since is not read again."""
    seen = records.read_json(folder / SYNCED) or {}
    good = set()
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            continue
        unchanged = seen.get(name) == [*_stat(path), entry["sha256"]]
        if unchanged or records.hash_file(path) == entry["sha256"]:
            good.add(name)
    return good


def _stat(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _swap(temporary: Path, target: Path) -> None:
    """Put ``temporary`` in the place of ``target``; a crash in between leaves one of them whole."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    temporary.rename(target)
    records.sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)
