"""Job ``infer``: a model reads images, each as one element (a line, a table, a formula, a chart, or a page's text)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.errors import InputError
from sft.jobs.base import Job
from sft.jobs.placed import found_model
from sft.models.questions import Answer


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

    Returns: ``{"texts": [one for each image, in order], "cut": [was it cut off at max_new_tokens?]}``.
    Raises:
        InputError: the model or an image is not there.
        IntegrityError: the model does not load.
    """
    from sft.models.recognition import Recogniser

    images = found_images(args.images, context)
    with found_model(args.model, context) as model:
        recogniser = Recogniser(model, args.device)
    rows = [(image, args.prompt) for image in images]
    said: dict[int, Answer] = {}
    for number, answer in recogniser.answers(rows, batch_size=args.batch_size, max_new_tokens=args.max_new_tokens):
        said[number] = answer
        context.event("evaluate", model="the model", rows=len(rows), done=len(said))
    answers = [said[number] for number in range(len(rows))]
    return {"texts": [answer.text for answer in answers], "cut": [answer.cut for answer in answers]}


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
