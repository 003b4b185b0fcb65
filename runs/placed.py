"""A dataset that lies elsewhere: what is asked of the jobs that look at it there. Needs no Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compute.base import Compute
from compute.records import put_json, read_json
from runs.dataset import room_of
from sft.config import RunConfig
from sft.dataset.elsewhere import hub_of, placed
from sft.dataset.files import DatasetFiles
from sft.dataset.findings import Report
from sft.dataset.settings import DatasetConfig
from sft.jobs.bring_dataset import BringArgs
from sft.jobs.scan_rows import PlacedFiles, ScanArgs

# What decides what is found in the rows, besides them.
RULES = {"format", "max_image_pixels", "max_image_bytes", "rules", "prompts", "images", "workers", "shown"}


def scan_args(config: RunConfig, files: PlacedFiles) -> list[ScanArgs]:
    """A share for each of ``dataset.containers`` calls."""
    rules = DatasetConfig.model_validate(config.dataset.model_dump(include=RULES))
    number, room = config.dataset.containers, room_of(config)
    return [ScanArgs(files=files, dataset=rules, room=room, share=n, shares=number) for n in range(number)]


def bring_args(config: RunConfig, there: int | None = None) -> BringArgs:
    """What brings a dataset of the Hub or a bucket to the data volume.

    Args:
        there: files and folders on the volume, where they are bounded.
    """
    asked = config.dataset
    room = {"packing": asked.pack, "there": there}
    if asked.placed == "hub":
        repo, revision = hub_of(asked.train)
        return BringArgs(scheme="hf", root=repo, revision=revision, hub=asked.hub, packing=asked.pack, there=there)
    found = placed(asked.train, asked.held_out, asked.dev)
    files = {"root": found.root, "train": found.train, "held_out": found.held_out, "dev": found.dev}
    more = {"endpoint": asked.endpoint, "max_image_bytes": asked.max_image_bytes}
    return BringArgs.model_validate({"scheme": found.scheme, **files, **more, **room})


def as_local(files: PlacedFiles) -> DatasetFiles:
    """The same files as :mod:`sft.plan` takes them: relative to the data volume."""
    root = Path(files.root)
    return DatasetFiles(root, root / files.train, root / files.held_out, root / files.dev if files.dev else None)


def is_stored(compute: Compute, files: PlacedFiles, key: str) -> bool:
    """Was exactly this validated before, in a folder whose content never changes?"""
    return (read_json(compute, "data", f"{files.root}/record.json") or {}).get("validated") == key


def store(compute: Compute, files: PlacedFiles, report: Report, key: str) -> None:
    """Write the record of a validated dataset, as an upload does: ``dataset.volume`` names it from now on."""
    names: dict[str, Any] = {"train": files.train, "held_out": files.held_out} | (
        {"dev": files.dev} if files.dev else {}
    )
    record = {**report.as_record(), "files": names, "volume": files.root, "validated": key}
    put_json(compute, "data", f"{files.root}/record.json", record)
