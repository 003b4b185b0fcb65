"""Job ``infer``: a model reads images, each as one element (a line, a table, a formula, a chart, or a page's text)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from sft.errors import InputError
from sft.jobs.base import Context, Job


class InferArgs(BaseModel):
    """``model`` is models/NAME or outputs/runs/IDENTITY/model; ``images`` are paths on the data volume, or absolute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    images: tuple[str, ...]
    prompt: str
    device: str
    batch_size: int = 8
    max_new_tokens: int = 2048


def infer(args: InferArgs, context: Context) -> dict[str, Any]:
    """Read the images.

    Returns: ``{"texts": [one for each image, in order]}``.
    Raises:
        InputError: the model or an image is not there.
        IntegrityError: the model does not load.
    """
    from sft.recognition import Recogniser

    volume, _, place = args.model.partition("/")
    root = {"models": context.volumes.models, "outputs": context.volumes.outputs}.get(volume)
    if root is None or not (root / place).is_dir():
        raise InputError("no such model", value=args.model, remedy="sft status lists the trainings")
    rows = [(context.volumes.data / image, args.prompt) for image in args.images]
    for path, _ in rows:
        if not path.is_file():
            raise InputError("no such image", value=str(path), remedy="correct the path")
    recogniser = Recogniser(root / place, args.device)
    read = recogniser.read(rows, batch_size=args.batch_size, max_new_tokens=args.max_new_tokens)
    texts = dict(read)
    return {"texts": [texts[number] for number in range(len(rows))]}


INFER = Job("infer", InferArgs, infer)
