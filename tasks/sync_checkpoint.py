"""Step sync-checkpoint: the model and the best checkpoint come to a local folder, whole or not at all."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path

from compute.base import Compute
from compute.records import put_json, read_json
from runs.hosting import hosted
from runs.mirroring import mirror
from sft.store.checkpoints import MANIFEST
from sft.store.contents import Training
from sft.store.volumes import SYNCED, run_place
from tasks.step import step
from tasks.telling import tell


@dataclass(frozen=True)
class Synced:
    """Where the model came to, and how many files (and bytes) were copied this time."""

    folder: Path
    copied: int
    copied_bytes: int


@step("sync-checkpoint", "Copy model and best checkpoint to this machine, verified by hash")
def sync_checkpoint(training: Training, folder: Path, compute: Compute) -> Synced:
    """Copy what is missing. A hosted run leaves all on the volume: its container's disk is gone with it.

    Args:
        training: the training's record.
        folder: the run's local folder; ``model/`` and ``checkpoint-N/`` come into it.
    Raises:
        TransientError: a copy does not have the hash that the manifest names; the next try copies it again.
    """
    run = run_place(training["identity"])
    if hosted() is not None:
        tell(f"the model stays on the outputs volume ({run}/model); the same run without --hosted brings it")
        return Synced(folder, 0, 0)
    copied = [mirror(compute, f"{run}/model", training["model"], folder / "model")]
    best = training["best_checkpoint"]
    if best:
        place = f"{run}/trainer/{best}"
        manifest = read_json(compute, "outputs", f"{place}/{MANIFEST}")
        if manifest is not None:
            copied.append(mirror(compute, place, manifest["files"], folder / best))
        else:
            tell(f"{best} is no longer on the outputs volume: it was cleaned up")
    if compute.read("outputs", f"{run}/{SYNCED}") is None:  # sft cleanup spares what nobody has a copy of
        put_json(compute, "outputs", f"{run}/{SYNCED}", {"time": time.time(), "host": socket.gethostname()})
    files, size = sum(c[0] for c in copied), sum(c[1] for c in copied)
    tell(f"copied {files} files ({size / 1e6:.1f} MB) to {folder}" if files else f"{folder} is up to date")
    return Synced(folder, files, size)
