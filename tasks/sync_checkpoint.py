"""Step sync-checkpoint: the model and the best checkpoint come to a local folder, whole or not at all."""

from __future__ import annotations

import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from compute.base import Compute
from compute.records import put_json, read_json
from sft.errors import TransientError
from sft.processes import alone_at
from sft.store import records
from sft.store.checkpoints import MANIFEST
from sft.store.contents import Training
from sft.store.volumes import SYNCED as ON_VOLUME
from sft.store.volumes import run_place
from tasks.step import step
from tasks.telling import tell

SYNCED = ".synced.json"  # name → [size, mtime in ns, sha256]: what was verified, so that a rerun need not read it again


@dataclass(frozen=True)
class Synced:
    """Where the model came to, and how many files (and bytes) were copied this time."""

    folder: Path
    copied: int
    copied_bytes: int


@step("sync-checkpoint", "Copy model and best checkpoint to this machine, verified by hash")
def sync_checkpoint(training: Training, folder: Path, compute: Compute) -> Synced:
    """Copy what is missing.

    Args:
        training: the training's record.
        folder: the run's local folder; ``model/`` and ``checkpoint-N/`` come into it.
    Raises:
        TransientError: a copy does not have the hash that the manifest names; the next try copies it again.
    """
    run = run_place(training["identity"])
    copied = [mirror(compute, f"{run}/model", training["model"], folder / "model")]
    best = training["best_checkpoint"]
    if best:
        place = f"{run}/trainer/{best}"
        manifest = read_json(compute, "outputs", f"{place}/{MANIFEST}")
        if manifest is not None:
            copied.append(mirror(compute, place, manifest["files"], folder / best))
        else:
            tell(f"{best} is no longer on the outputs volume: it was cleaned up")
    if compute.read("outputs", f"{run}/{ON_VOLUME}") is None:  # sft cleanup spares what nobody has a copy of
        put_json(compute, "outputs", f"{run}/{ON_VOLUME}", {"time": time.time(), "host": socket.gethostname()})
    files, size = sum(c[0] for c in copied), sum(c[1] for c in copied)
    tell(f"copied {files} files ({size / 1e6:.1f} MB) to {folder}" if files else f"{folder} is up to date")
    return Synced(folder, files, size)


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
