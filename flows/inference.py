"""``sft infer``: a model reads images where the profile computes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from compute.base import Compute
from compute.select import compute_for
from sft import records
from sft.config import RunConfig
from sft.dataset.rules import TASKS
from sft.errors import InputError
from sft.jobs.infer import InferArgs
from sft.plan import download_args
from tasks.ensure_base_model import known_base_model
from tasks.train import finished_training

PROMPTS = {task: prompt for prompt, task in TASKS.items()}


def read_images(config: RunConfig, images: Sequence[Path], model: str, task: str) -> list[tuple[Path, str]]:
    """(image, text) in the order given.

    Args:
        model: base, or the identity of a finished training (its first 16 digits suffice).
        task: ocr, table, formula or chart.
    Raises:
        InputError: no such task, model or image.
    """
    if task not in PROMPTS:
        raise InputError("no such task", value=task, remedy=f"use {', '.join(PROMPTS)}")
    if missing := [str(image) for image in images if not image.is_file()]:
        raise InputError("no such image", value=", ".join(missing), remedy="correct the path")
    compute = compute_for(config)
    args = InferArgs(
        model=_place(config, compute, model),
        images=tuple(_on_volume(compute, image) for image in images),
        prompt=PROMPTS[task],
        device="cpu" if config.on_cpu else "gpu",
        batch_size=config.evaluate.batch_size,
        max_new_tokens=config.evaluate.max_new_tokens,
    )
    call_id = compute.start("infer", args.model_dump(mode="json"))
    while not compute.poll(call_id).ended:
        time.sleep(0.1)
    return list(zip(images, compute.result(call_id)["texts"]))


def _place(config: RunConfig, compute: Compute, model: str) -> str:
    if model == "base":
        folder = download_args(config).folder
        if known_base_model(compute, folder) is None:
            raise InputError("the base model is not on the volume yet", value=folder, remedy="sft run fetches it")
        return f"models/{folder}"
    if finished_training(compute, model) is None:
        raise InputError("no finished training of that identity", value=model, remedy="sft status lists them")
    return f"outputs/runs/{model[:16]}/model"


def _on_volume(compute: Compute, image: Path) -> str:
    """Where the job finds the image: here on one machine, or a copy on the data volume, named by its content."""
    if compute.name == "local":
        return str(image.resolve())
    name = f"inference/{records.hash_file(image)[:24]}{image.suffix.lower()}"
    compute.put("data", image, name)
    return name
