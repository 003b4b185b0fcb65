"""Step ensure-base-model: the base model on the models volume, fetched once and verified."""

from __future__ import annotations

from typing import cast

from compute.base import Compute
from runs.fetched import known_base_model
from sft.config import RunConfig
from sft.plan import download_args
from sft.store.contents import Base
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell


@step("ensure-base-model", "Fetch the base model to the models volume once, and verify it")
def ensure_base_model(config: RunConfig, compute: Compute) -> Base:
    """The base model's record (see :func:`sft.jobs.download_model.download_model`).

    Raises:
        IntegrityError: files on the volume are missing or damaged.
    """
    args = download_args(config)
    record = known_base_model(compute, args.folder)
    if record is not None:
        tell(f"base model {record['name']} is on the volume already")
        return record
    record = cast("Base", run_job(compute, f"model-{args.folder}", "download_model", args.model_dump()))
    size = sum(entry["size"] for entry in record["files"].values())
    tell(f"base model {record['name']}: {size / 1e6:.0f} MB, {len(record['files'])} files, verified")
    return record
