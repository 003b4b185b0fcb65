"""What a training's checkpoints come to on the dev rows, and their weights until that is known.

runs/IDENTITY/dev/rows.json          how many dev rows each checkpoint of this training reads
runs/IDENTITY/dev/step-N.json        what the checkpoint of step N came to
runs/IDENTITY/dev/checkpoint-N/      weights that have not read them yet, and the best one's
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from sft.store import checkpoints, contents
from sft.store.contents import DevScore

FOLDER = "dev"  # in a training's folder, and in that of its events, where TensorBoard takes it for a run of its own
ROWS = "rows.json"
WEIGHTS = ("model*.safetensors", "peft_model*", "lora_config.json")  # of a checkpoint's files what a reader needs
UNREAD = 10  # checkpoints that wait at most on one machine; of a training that nobody follows the older ones go


def keep(run: Path, checkpoint: Path, *, bounded: bool = True) -> Path:
    """Keep a sealed checkpoint's weights, where the trainer's own rotation does not reach, until they are judged.

    Args:
        bounded: let older ones go that nobody has read. Not where others read on other machines: what they have found
            out is not seen here before the volume is reloaded, and the best would be taken for one that nobody read.
    Raises:
        FileNotFoundError: the trainer has removed it meanwhile.
    """
    kept = checkpoints.keep(checkpoint, run / FOLDER, WEIGHTS)
    read = {score["step"] for score in scores(run)}
    unread = [folder for step, folder in checkpoints.listed(run / FOLDER) if step not in read]
    for folder in unread[:-UNREAD] if bounded else ():
        shutil.rmtree(folder)
    return kept


def scores(run: Path) -> list[DevScore]:
    """What the checkpoints of a training came to, by step."""
    found = [contents.dev_score(path) for path in (run / FOLDER).glob("step-*.json")]
    return sorted((one for one in found if one is not None), key=lambda one: one["step"])


def best(found: Sequence[DevScore], metric: str) -> DevScore:
    """The one with the lowest ``metric`` (see :data:`sft.metrics.gate.Metric`); the later one of equals."""
    return min(found, key=lambda one: (as_point(one)[metric], -one["step"]))


def let_go(run: Path, metric: str) -> None:
    """Only the best one's weights stay, and those that have not been judged yet."""
    found = scores(run)
    stays = best(found, metric)["step"]
    read = {one["step"] for one in found} - {stays}
    for step, folder in checkpoints.listed(run / FOLDER):
        if step in read:
            shutil.rmtree(folder)


def as_point(found: DevScore) -> dict[str, float]:
    """A point of the curve: step and scores in all."""
    total = found["scores"]["all"]
    return {
        "step": found["step"],
        "error": total["error"],
        "cer": total["cer"],
        "wer": total["wer"],
        "ned": total["ned"],
    }
