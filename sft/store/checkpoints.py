"""Checkpoints: each finished one gets a manifest before it counts; torn ones are set aside with the reason."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sft.errors import InputError, IntegrityError
from sft.store import records

MANIFEST = "checkpoint_manifest.json"
QUARANTINE = "quarantine"
# What a trainer's checkpoint has for a resume alone, by the names of PaddleFormers, ERNIEKit and transformers.
_RESUMED_WITH = ("optimizer", "master_weights", "scheduler", "rng_state", "scaler")
_NAME = re.compile(r"^checkpoint-(\d+)$")
Check = Callable[[Path], "list[str]"]  # what a checkpoint lacks to be resumed from


def listed(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every ``checkpoint-N`` in ``folder``, by step."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if path.is_dir() and (match := _NAME.match(path.name))]
    return sorted(found)


def step_of(checkpoint: Path | None) -> int:
    """The step that a checkpoint's name says; 0 without one."""
    return int(checkpoint.name.removeprefix("checkpoint-")) if checkpoint else 0


def seal(folder: Path, identity: str, engine: str, step: int, loss: float | None) -> None:
    """Write the checkpoint's manifest: from now on it counts.

    Args:
        identity: fingerprint of the training.
        loss: mean training loss (nats per token) since the checkpoint before, if known.
    """
    facts = {"identity": identity, "engine": engine, "step": step, "loss": loss}
    records.write_json(folder / MANIFEST, {**facts, "files": _files(folder)})


def _files(folder: Path) -> records.Manifest:
    return {name: entry for name, entry in records.manifest(folder).items() if name != MANIFEST}


def problems(folder: Path, identity: str, check: Check) -> list[str]:
    """Why a checkpoint must not be resumed from; an empty list for a verified one."""
    manifest: dict[str, Any] | None = records.read_json(folder / MANIFEST)
    if manifest is None:
        return [f"it has no {MANIFEST}: it was not finished when the training ended"]
    if manifest.get("identity") != identity:
        return [f"it belongs to another training ({str(manifest.get('identity'))[:16]})"]
    return records.broken_files(folder, manifest["files"]) + check(folder)


def newest_verified(folder: Path, identity: str, check: Check) -> Path | None:
    """The newest checkpoint that verifies; newer ones that do not are moved to quarantine with the reason."""
    for _, path in reversed(listed(folder)):
        broken = problems(path, identity, check)
        if not broken:
            return path
        quarantine(path, broken)
    return None


def quarantine(path: Path, reasons: list[str]) -> Path:
    """Move what must not be resumed from out of the trainer's output folder and write down why.

    It lies beside that folder: ERNIEKit refuses to start in one that has anything in it but no checkpoint.
    """
    place = path.parent.parent / QUARANTINE
    place.mkdir(exist_ok=True)
    target = place / path.name
    number = 1
    while target.exists():
        number += 1
        target = place / f"{path.name}.{number}"
    path.rename(target)
    records.write_json(target.with_name(target.name + ".reason.json"), {"reasons": reasons})
    return target


def choose(folder: Path, resume: str, identity: str, check: Check) -> Path | None:
    """The checkpoint to resume from by the rule of ``train.resume``: auto, never or checkpoint-N.

    Raises:
        InputError: the named checkpoint does not exist.
        IntegrityError: the named checkpoint does not verify.
    """
    if resume == "auto":
        found = newest_verified(folder, identity, check)
        if found is None:
            _empty(folder, "no checkpoint verifies: the training starts at step 0")
        return found
    if resume == "never":
        _empty(folder, "train.resume is never")
        return None
    path = folder / resume
    known = ", ".join(path.name for _, path in listed(folder)) or "none"
    if not path.is_dir():
        raise InputError("no such checkpoint", where="train.resume", value=resume, remedy=f"there are: {known}")
    if broken := problems(path, identity, check):
        remedy = "use train.resume=auto, which takes the newest whole one"
        raise IntegrityError(f"the checkpoint does not verify: {'; '.join(broken)}", where=str(path), remedy=remedy)
    for step, later in listed(folder):
        if step > int(resume.removeprefix("checkpoint-")):
            quarantine(later, [f"train.resume is {resume}"])
    return path


def _empty(folder: Path, reason: str) -> None:
    """Set everything aside that an earlier training left: checkpoints, and in one folder whatever lies beside them."""
    for _, path in listed(folder):
        quarantine(path, [reason])
    rest = list(folder.iterdir()) if folder.is_dir() else []
    if rest:
        remains = folder / "remains"
        remains.mkdir(exist_ok=True)
        for path in rest:
            if path != remains:
                path.rename(remains / path.name)
        quarantine(remains, [reason])


def keep_best(place: Path, output: Path) -> Path | None:
    """Keep the best checkpoint in ``place``, where the trainer's own rotation does not reach; an earlier one goes.

    Files are linked, not copied, where the volume can: they take room only once the trainer has let go of its own.
    Where it cannot (Modal's volumes of version 1), only what a reader needs is copied, a third of it or less: nothing
    is resumed from here.
    """
    chosen, kept = best(output), best(place)
    if chosen is None or (kept is not None and _loss(kept) <= _loss(chosen)):
        return None
    temporary = place / f".{chosen.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    for source in sorted(path for path in chosen.rglob("*") if path.is_file()):
        _link_or_copy(source, temporary / source.relative_to(chosen))
    temporary.rename(place / chosen.name)
    for step, path in listed(place):
        if path.name != chosen.name and step >= 0:
            shutil.rmtree(path)
    return place / chosen.name


def keep(checkpoint: Path, place: Path, patterns: Iterable[str]) -> Path:
    """Keep what ``patterns`` name of a sealed checkpoint, and its manifest, in ``place``; returns the folder there.

    Raises:
        FileNotFoundError: the trainer has removed it meanwhile.
    """
    target = place / checkpoint.name
    if (target / MANIFEST).is_file():
        return target
    shutil.rmtree(target, ignore_errors=True)
    for source in sorted({path for pattern in patterns for path in checkpoint.glob(pattern)}):
        _link_or_copy(source, target / source.name)
    _link_or_copy(checkpoint / MANIFEST, target / MANIFEST)  # last: without it nothing is kept
    return target


def _link_or_copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        if not source.name.startswith(_RESUMED_WITH):
            shutil.copyfile(source, target)


def best(folder: Path) -> Path | None:
    """The sealed checkpoint with the lowest mean training loss, or None."""
    scored = [(_loss(path), path) for _, path in listed(folder)]
    return min((each for each in scored if each[0] < math.inf), default=(0.0, None))[1]


def _loss(checkpoint: Path) -> float:
    """By its manifest; infinite where it has none or says none."""
    loss = (records.read_json(checkpoint / MANIFEST) or {}).get("loss")
    return math.inf if loss is None else float(loss)
