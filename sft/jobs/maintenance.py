"""Jobs ``hash_files`` and ``cleanup``: what lies on a volume, and making room there."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sft import champions, records
from sft.checkpoints import QUARANTINE
from sft.errors import InputError, LeaseHeld
from sft.jobs.base import Context, Job
from sft.lease import holder
from sft.volumes import RUNS, SYNCED, run_place

DAY = 86400  # seconds
# Of a finished training: all but model, records, curve and evaluations.
NEEDLESS = ("trainer", QUARANTINE, "best", "work", "logs")


class HashArgs(BaseModel):
    """A folder of a volume."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    volume: Literal["data", "models", "outputs"]
    path: str


def hash_files(args: HashArgs, context: Context) -> dict[str, Any]:
    """The manifest of a folder (see :func:`sft.records.manifest`): hashed where it lies, not after a download.

    Raises:
        InputError: the folder is not there, or outside the volume.
    """
    root = getattr(context.volumes, args.volume).resolve()
    folder = (root / args.path).resolve()
    if not folder.is_relative_to(root) or not folder.is_dir():
        raise InputError("no such folder on the volume", where=args.volume, value=args.path)
    return {"files": records.manifest(folder)}


class CleanupArgs(BaseModel):
    """Rules of what may go; ``dry_run`` tells what would be removed.

    Attributes:
        older_than: a training goes only so long after it finished (days).
        keep: the newest trainings of each name stay.
        models: remove whole trainings, the tuned model included; else what a finished one no longer needs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    older_than: float = Field(14, ge=0)
    keep: int = Field(3, ge=0)
    models: bool = False
    dry_run: bool = True


def cleanup(args: CleanupArgs, context: Context) -> dict[str, Any]:
    """Remove finished trainings' checkpoints, or all of them, by rule.

    Never what is promoted or was (a rollback goes back to it), what a lease is held of, what has not finished (it
    resumes from its checkpoints), and what no machine has synced.

    Returns: ``{"runs": [{run, name, finished, bytes, removed (bytes), kept (why; empty where it goes)}]}``.
    """
    folder = context.volumes.outputs / RUNS
    runs = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    found = {run: records.read_record(run) or {} for run in runs}
    newest: dict[str, list[Path]] = {}
    for run, record in sorted(found.items(), key=lambda item: -item[1].get("finished", 0)):
        newest.setdefault(str(record.get("name", "")), []).append(run)
    spared = {run for group in newest.values() for run in group[: args.keep]}
    promoted = _promoted(context)
    told = []
    for run, record in found.items():
        why = _why_kept(run, record, args, promoted) or ("one of the newest" if run in spared else "")
        entry = {"run": run.name, "name": record.get("name", ""), "finished": record.get("finished", 0), "kept": why}
        entry |= {"bytes": _size(run), "removed": 0}
        if not why:
            entry |= _remove(run, args, context)
        told.append(entry)
    if not args.dry_run:
        context.commit()
    return {"runs": told}


def _promoted(context: Context) -> set[str]:
    """Folders of all trainings that were ever put in service."""
    every = [c for line in champions.lines(context.volumes.outputs) for c in champions.history(line)]
    return {run_place(c.identity).rpartition("/")[2] for c in every}


def _why_kept(run: Path, record: dict[str, Any], args: CleanupArgs, promoted: set[str]) -> str:
    if holder(run) is not None:
        return "its lease is held"
    if not record:
        return "not finished: it resumes from its checkpoints"
    if run.name in promoted:
        return "promoted"
    if not (run / SYNCED).exists():
        return "not synced to any machine"
    age = (time.time() - record.get("finished", 0)) / DAY
    return f"finished {age:.0f} days ago" if age < args.older_than else ""


def _remove(run: Path, args: CleanupArgs, context: Context) -> dict[str, Any]:
    """Remove under the run's lease: a training that starts at this moment finds all of it or nothing."""
    doomed = [run] if args.models else [run / name for name in NEEDLESS if (run / name).exists()]
    size = _size(*doomed)
    if args.dry_run or not doomed:
        return {"removed": size}
    try:
        with context.lease(run):
            if args.models:  # no record, no training: the record goes first
                (run / records.RECORD).unlink(missing_ok=True)
            for path in doomed:
                shutil.rmtree(path, ignore_errors=True)
    except LeaseHeld:
        return {"kept": "its lease is held"}
    if args.models:
        shutil.rmtree(run, ignore_errors=True)  # with the lease's own files
    return {"removed": size}


def _size(*folders: Path) -> int:
    """Bytes below the folders; a file that has several names (the best checkpoint) counts once."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return sum({(s.st_ino, s.st_dev): s.st_size for s in map(Path.stat, files)}.values())


HASH_FILES = Job("hash_files", HashArgs, hash_files)
CLEANUP = Job("cleanup", CleanupArgs, cleanup)
