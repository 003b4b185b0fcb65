"""Jobs ``hash_files`` and ``prune``: what lies on a volume, and making room there."""

from __future__ import annotations

import shutil
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sft import records
from sft.errors import InputError
from sft.jobs.base import Context, Job
from sft.lease import holder


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


class PruneArgs(BaseModel):
    """``runs`` are folders below /outputs/runs; ``dry_run`` tells what would be removed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: tuple[str, ...]
    dry_run: bool = True


def prune(args: PruneArgs, context: Context) -> dict[str, Any]:
    """Remove the checkpoints of finished trainings; the final model, its record and its evaluations stay.

    A training that has not finished keeps them (it resumes from them), and so does one whose lease is held.

    Returns: ``{"removed": {run: bytes}, "kept": {run: reason}}``.
    """
    removed: dict[str, int] = {}
    kept: dict[str, str] = {}
    for name in args.runs:
        run = context.volumes.outputs / "runs" / name
        if "/" in name or not run.is_dir():
            kept[name] = "no such run"
        elif records.read_record(run) is None:
            kept[name] = "not finished: it resumes from its checkpoints"
        elif holder(run) is not None:
            kept[name] = "its lease is held"
        else:
            trainer = run / "trainer"
            removed[name] = sum(path.stat().st_size for path in trainer.rglob("*") if path.is_file())
            if not args.dry_run:
                shutil.rmtree(trainer, ignore_errors=True)
    if removed and not args.dry_run:
        context.commit()
    return {"removed": removed, "kept": kept}


HASH_FILES = Job("hash_files", HashArgs, hash_files)
PRUNE = Job("prune", PruneArgs, prune)
