"""Jobs ``hash_files`` and ``cleanup``: what lies on a volume, and making room there."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sft.context import Context
from sft.errors import InputError, LeaseHeld
from sft.jobs.base import Job
from sft.jobs.download_model import LEASES
from sft.store import champions, records
from sft.store.checkpoints import QUARANTINE
from sft.store.lease import FILE, LOCK, holder, is_held
from sft.store.volumes import REMOVING, RUNS, SYNCED, run_place

DAY = 86400  # seconds
HELD = "its lease is held"
LEASE = (FILE, LOCK)
# Of a finished training: all but model, records, curve and evaluations.
NEEDLESS = ("trainer", QUARANTINE, "best", "dev", "work", "logs")


class HashArgs(BaseModel):
    """A folder of a volume."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    volume: Literal["data", "models", "outputs"]
    path: str


def hash_files(args: HashArgs, context: Context) -> dict[str, Any]:
    """The manifest of a folder (see :func:`sft.store.records.manifest`): hashed where it lies, not after a download.

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
    """Remove finished trainings' checkpoints, or all of them, by rule; and leases whose holder does not run any more.

    Never what is promoted or was (a rollback goes back to it), what a lease is held of, what has not finished (it
    resumes from its checkpoints), and what no machine has synced. It is asked for all at first, and of each training
    twice again under its leases, as others see the volume then: before it is written down what will go, and right
    before the removal. What a cleanup that died has begun to remove is removed, or spared if nothing is gone yet.

    Returns: ``{"runs": [{run, name, finished, bytes, removed (bytes), kept (why; empty where it goes)}]}``, by what is
        there afterwards.
    Raises:
        TransientError: the volume or other machines cannot be reached; the next cleanup goes on.
    """
    told = []
    for run, (record, why) in _decided(args, context).items():
        entry = {"run": run.name, "name": record.get("name", ""), "finished": record.get("finished", 0), "kept": why}
        entry |= {"bytes": _size(run), "removed": 0}
        if not why and args.dry_run:
            entry["removed"] = _size(*_doomed(run, args))
        elif not why:
            entry |= _remove(run, args, context)
        told.append(entry)
    if not args.dry_run:
        _free_leases(context)
        _spare(context)
        context.commit()
    return {"runs": told}


def _decided(args: CleanupArgs, context: Context) -> dict[Path, tuple[dict[str, Any], str]]:
    """Each training's record, and why it stays, as the volume is now; an empty text where it goes."""
    found = {run: records.read_record(run) or {} for run in _folders(context.volumes.outputs / RUNS)}
    newest: dict[str, list[Path]] = {}
    for run, record in sorted(found.items(), key=lambda item: -item[1].get("finished", 0)):
        if record:
            newest.setdefault(str(record.get("name", "")), []).append(run)
    spared = {run for group in newest.values() for run in group[: args.keep]}
    promoted = _promoted(context)
    return {
        run: (
            record,
            _why_kept(run, record, args, promoted, context) or ("one of the newest" if run in spared else ""),
        )
        for run, record in found.items()
    }


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _promoted(context: Context) -> set[str]:
    """Folders of all trainings that were ever put in service."""
    every = [c for line in champions.lines(context.volumes.outputs) for c in champions.history(line)]
    return {run_place(c.identity).rpartition("/")[2] for c in every}


def _why_kept(run: Path, record: dict[str, Any], args: CleanupArgs, promoted: set[str], context: Context) -> str:
    if is_held(run, context.call_id, context.shared):
        return HELD
    if not record and not _is_half_gone(run):
        return "not finished: it resumes from its checkpoints"
    if run.name in promoted:
        return "promoted"
    if not record:
        return ""
    if not (run / SYNCED).exists():
        return "not synced to any machine"
    age = (time.time() - record.get("finished", 0)) / DAY
    return f"finished {age:.0f} days ago" if age < args.older_than else ""


def _is_half_gone(run: Path) -> bool:
    """Has a cleanup died while it removed the whole training? Its record goes first; what trains it anew says no."""
    return bool((records.read_json(run / REMOVING) or {}).get("whole")) and records.read_record(run) is None


def _remove(run: Path, args: CleanupArgs, context: Context) -> dict[str, Any]:
    """Remove under the leases of the training and its line: nobody trains or promotes it meanwhile."""
    begun = records.read_json(run / REMOVING) or {}
    name = str((records.read_record(run) or {}).get("name") or begun.get("name", ""))
    try:
        with ExitStack() as leases:
            places = [context.volumes.outputs / champions.place(name)] if name else []
            held = [leases.enter_context(context.lease(place)) for place in [*places, run]]
            # Each lease has shown what others have committed meanwhile.
            if why := _why_now(run, args, context):
                return {"kept": why}
            whole = args.models or _is_half_gone(run)
            records.write_json(run / REMOVING, {"whole": whole, "name": name, "call_id": context.call_id})
            _publish(context)
            if why := _why_now(run, args, context):
                (run / REMOVING).unlink(missing_ok=True)
                context.commit()
                return {"kept": why}
            for lease in held:
                lease.check()
            return _remove_now(run, args, context, whole=whole)
    except LeaseHeld as lost:
        return {"kept": HELD if lost.where == str(run) else "a promotion of its line is under way"}


def _why_now(run: Path, args: CleanupArgs, context: Context) -> str:
    return _decided(args, context).get(run, ({}, "somebody else has removed it"))[1]


def _remove_now(run: Path, args: CleanupArgs, context: Context, *, whole: bool) -> dict[str, Any]:
    doomed = _doomed(run, args)
    size = _size(*doomed)
    for path in doomed:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if not any(path.exists() for path in doomed):
        (run / REMOVING).unlink(missing_ok=True)  # last: until then the next cleanup goes on
        if whole:
            shutil.rmtree(run, ignore_errors=True)  # with the lease's own files
    _publish(context)
    left = _size(*doomed)
    return {"removed": size - left, "kept": "some of it is still there" if left else ""}


def _publish(context: Context) -> None:
    """Make durable what was done, then look at what others have done; a reload before the commit would undo it."""
    context.commit()
    if context.shared is not None:
        context.shared.refresh()


def _doomed(run: Path, args: CleanupArgs) -> list[Path]:
    """What goes of a training. No record, no training: it goes first."""
    if args.models or _is_half_gone(run):
        inside = (path for path in run.iterdir() if path.name not in (*LEASE, REMOVING))
        return sorted(inside, key=lambda path: path.name != records.RECORD)
    return [run / name for name in NEEDLESS if (run / name).exists()]


def _free_leases(context: Context) -> None:
    """Remove what killed holders have left of their leases: each is taken, as its next holder would, and given back."""
    outputs, models = context.volumes.outputs, context.volumes.models
    for folder in [*_folders(outputs / RUNS), *champions.lines(outputs), *_folders(models / LEASES)]:
        if holder(folder) is not None and not is_held(folder, context.call_id, context.shared):
            with suppress(LeaseHeld), context.lease(folder):
                pass


def _spare(context: Context) -> None:
    """A cleanup that died before it removed anything has changed nothing: what it wrote down is withdrawn."""
    for run in _folders(context.volumes.outputs / RUNS):
        if (run / REMOVING).exists() and not _is_half_gone(run):
            with suppress(LeaseHeld), context.lease(run):
                if not _is_half_gone(run):
                    (run / REMOVING).unlink(missing_ok=True)


def _size(*paths: Path) -> int:
    """Bytes of files and of what is below folders; a file that has several names (the best checkpoint) counts once."""
    files = (path for given in paths for path in (given, *given.rglob("*")) if path.is_file())
    return sum({(s.st_ino, s.st_dev): s.st_size for s in map(Path.stat, files)}.values())


HASH_FILES = Job("hash_files", HashArgs, hash_files)
CLEANUP = Job("cleanup", CleanupArgs, cleanup)
