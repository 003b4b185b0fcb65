"""Step ensure-models: every model that is to read is on the volumes, whole, and known by what identifies it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from compute.base import Compute
from runs.fetched import known_base_model
from runs.named_models import check_there, download_of, folder_of, identified, place_of, stored
from sft.config import RunConfig
from sft.errors import InputError, raise_all
from sft.jobs.placed import Named
from sft.store.contents import Base
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell


@step("ensure-models", "Fetch the models that are not on the volumes yet, each once, and verify them")
def ensure_models(config: RunConfig, compute: Compute, models: Sequence[str]) -> tuple[list[Named], list[str]]:
    """(where each model lies, what identifies it), in the order of the names.

    Raises:
        InputError: models that are not there, all at once, before any is fetched.
        IntegrityError: a model on the volumes is missing files, or damaged.
    """
    check_there(config, compute, models)
    found: list[Named] = []
    problems: list[InputError] = []
    for model in models:
        try:
            found.append(_brought(config, compute, model))
        except InputError as error:  # another one that does not exist is told in the same breath
            problems.append(error)
    raise_all(problems)
    return found, [identified(compute, model) for model in found]


def _brought(config: RunConfig, compute: Compute, model: str) -> Named:
    if (folder := folder_of(model)) is not None:
        return Named(label=model, place=f"models/{stored(model, folder, compute, tell)}")
    download = download_of(config, model)
    if download is not None and known_base_model(compute, download.folder) is None:
        args = download.model_dump()
        record = cast("Base", run_job(compute, f"model-{download.folder}", "download_model", args))
        size = sum(entry["size"] for entry in record["files"].values())
        tell(f"{model}: {size / 1e6:.0f} MB, {len(record['files'])} files, verified")
    return Named(label=model, place=place_of(config, compute, model))
