"""A model by its place on the volumes: whole or not, what identifies it, and a folder that readers can load."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.errors import InputError, IntegrityError
from sft.models import export, lora
from sft.store import checkpoints, records
from sft.store.dev import WEIGHTS
from sft.store.records import Manifest

ORIGIN = "origin.json"  # in a training's folder: the models that it was made from


class Named(BaseModel):
    """A model that reads: what people call it, and where it lies.

    ``place`` is models/NAME, outputs/runs/IDENTITY/model, or a checkpoint in outputs/runs/IDENTITY/trainer or …/best.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    place: str


def identity(model: Named, context: Context) -> str:
    """What identifies the model, by the record of its place; its files are the ones that the record names.

    Raises:
        InputError: no model lies at such a place.
        IntegrityError: the model has no record, or is damaged.
    """
    folder = folder_of(model.place, context)
    if folder.name.startswith("checkpoint-"):
        return _of_checkpoint(model, folder, context)
    is_base = model.place.startswith("models/")
    record = records.read_record(folder if is_base else folder.parent)
    if record is None:
        remedy = "run the flow: its earlier steps make the model"
        raise IntegrityError(f"the {model.label} model is not finished", where=str(folder), remedy=remedy)
    _check(model, folder, record["files" if is_base else "model"], content=not is_base)
    return str(record["identity" if is_base else "model_identity"])


def check_unchanged(models: Iterable[Named], identities: Iterable[str], context: Context) -> None:
    """The models are still those that were asked for.

    Raises:
        IntegrityError: one is another now, is damaged or has no record.
    """
    for model, asked in zip(models, identities):
        if identity(model, context) != asked:
            said = f"{model.label} has changed since it was asked for"
            raise IntegrityError(said, where=model.place, remedy="run again")


def checkpoint_identity(manifest: dict[str, Any], origin: dict[str, Any]) -> str:
    """What identifies a checkpoint's model: its weights, and the models that it was made from.

    Args:
        manifest: of :func:`sft.store.checkpoints.seal`.
        origin: the content of the training's ORIGIN.
    """
    made_from = [origin.get("base_model", ""), origin.get("start_from", "")]
    return records.fingerprint([records.manifest_hash(_weights(manifest["files"])), made_from])


def _of_checkpoint(model: Named, folder: Path, context: Context) -> str:
    manifest = records.read_json(folder / checkpoints.MANIFEST)
    if manifest is None:
        remedy = "take one that is, or wait: a checkpoint counts once its manifest is written"
        raise IntegrityError("the checkpoint is not finished", where=str(folder), remedy=remedy)
    _check(model, folder, _weights(manifest["files"]), content=True)
    return checkpoint_identity(manifest, _origin(folder))


def _weights(files: Manifest) -> Manifest:
    return {name: entry for name, entry in files.items() if any(Path(name).match(pattern) for pattern in WEIGHTS)}


def _check(model: Named, folder: Path, files: Manifest, *, content: bool) -> None:
    if broken := records.broken_files(folder, files, content=content):
        remedy, said = "remove its folder and run again", "; ".join(broken)
        raise IntegrityError(f"the {model.label} model is damaged", where=str(folder), value=said, remedy=remedy)


def folder_of(place: str, context: Context) -> Path:
    """Where the folder of a model or checkpoint is, or would be.

    Raises:
        InputError: the place is elsewhere than models are.
    """
    volume, _, rest = place.partition("/")
    root = {"models": context.volumes.models, "outputs": context.volumes.outputs}.get(volume)
    folder = (root / rest).resolve() if root else None
    if root is None or folder is None or not folder.is_relative_to(root.resolve()):
        raise _missing(place)
    return folder


def _missing(place: str) -> InputError:
    return InputError("no such model", value=place, remedy="sft status lists the trainings")


@contextmanager
def found_model(place: str, context: Context) -> Iterator[Path]:
    """A model's folder. A checkpoint's weights are put together with the base's small files, as a finished model is.

    Raises:
        InputError: it is not there.
        IntegrityError: it is a checkpoint whose base model is not there.
    """
    folder = folder_of(place, context)
    if not folder.is_dir():
        raise _missing(place)
    if not folder.name.startswith("checkpoint-"):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sft-checkpoint-") as temporary:
        whole = Path(temporary) / "model"
        _assemble(folder, whole, context)
        yield whole


def _origin(checkpoint: Path) -> dict[str, Any]:
    run = checkpoint.parents[1]  # runs/IDENTITY/trainer/checkpoint-N, or best/
    return records.read_json(run / ORIGIN) or records.read_record(run) or {}


def _assemble(checkpoint: Path, whole: Path, context: Context) -> None:
    origin = _origin(checkpoint)
    base = context.volumes.models / str(origin.get("base_model", ""))
    if not origin or records.read_record(base) is None:
        remedy = "sft run fetches it; the checkpoint has weights alone that can be used"
        raise IntegrityError("the checkpoint's base model is not there", where=str(checkpoint), remedy=remedy)
    weights = sorted(checkpoint.glob(export.WEIGHTS))
    if not weights:  # LoRA
        start = context.volumes.run(origin["start_from"]) / "model" if origin.get("start_from") else base
        lora.merge(start, checkpoint, whole.with_name("merged"))
        weights = sorted(whole.with_name("merged").glob(export.WEIGHTS))
    export.assemble(weights, base, whole, move=False)
