"""Job ``infer``: a model reads images, each as one element (a line, a table, a formula, a chart, or a page's text)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.errors import InputError, IntegrityError
from sft.jobs.base import Job
from sft.jobs.train import ORIGIN
from sft.models import export, lora
from sft.store import records


class InferArgs(BaseModel):
    """``model`` is models/NAME or a folder on the outputs volume (outputs/runs/IDENTITY/model, …/checkpoint-N).

    ``images`` are paths on the data volume, or absolute. ``gpu`` is what the call is billed as.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    images: tuple[str, ...]
    prompt: str
    device: str
    batch_size: int = 8
    max_new_tokens: int = 2048
    gpu: str = "cpu"


def infer(args: InferArgs, context: Context) -> dict[str, Any]:
    """Read the images.

    Returns: ``{"texts": [one for each image, in order]}``.
    Raises:
        InputError: the model or an image is not there.
        IntegrityError: the model does not load.
    """
    from sft.models.recognition import Recogniser

    images = found_images(args.images, context)
    with found_model(args.model, context) as model:
        recogniser = Recogniser(model, args.device)
    rows = [(image, args.prompt) for image in images]
    texts: dict[int, str] = {}
    for number, text in recogniser.read(rows, batch_size=args.batch_size, max_new_tokens=args.max_new_tokens):
        texts[number] = text
        context.event("evaluate", model="the model", rows=len(rows), done=len(texts))
    return {"texts": [texts[number] for number in range(len(rows))]}


@contextmanager
def found_model(model: str, context: Context) -> Iterator[Path]:
    """A model's folder. A checkpoint's weights are put together with the base's small files, as a finished model is.

    Raises:
        InputError: it is not there.
        IntegrityError: it is a checkpoint whose base model is not there.
    """
    volume, _, place = model.partition("/")
    root = {"models": context.volumes.models, "outputs": context.volumes.outputs}.get(volume)
    folder = (root / place).resolve() if root else None
    if root is None or folder is None or not folder.is_dir() or not folder.is_relative_to(root.resolve()):
        raise InputError("no such model", value=model, remedy="sft status lists the trainings")
    if not folder.name.startswith("checkpoint-"):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sft-checkpoint-") as temporary:
        whole = Path(temporary) / "model"
        _assemble(folder, whole, context)
        yield whole


def _assemble(checkpoint: Path, whole: Path, context: Context) -> None:
    run = checkpoint.parents[1]  # runs/IDENTITY/trainer/checkpoint-N, or best/
    origin = records.read_json(run / ORIGIN) or records.read_record(run) or {}
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


def found_images(images: Sequence[str], context: Context) -> list[Path]:
    """The images' paths.

    Raises:
        InputError: one of them is not there.
    """
    paths = [context.volumes.data / image for image in images]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise InputError("no such image", value=", ".join(missing[:5]), remedy="correct the path")
    return paths


INFER = Job("infer", InferArgs, infer, billed=True)
