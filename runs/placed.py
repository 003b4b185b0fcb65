"""A dataset that lies elsewhere: what is asked of the jobs that look at it there. Needs no Prefect."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compute.base import Compute
from compute.records import put_json, read_json
from runs.dataset import room_of
from sft.config import RunConfig
from sft.dataset import told
from sft.dataset.elsewhere import hub_of, one_set, placed
from sft.dataset.files import DatasetFiles
from sft.dataset.findings import Report
from sft.dataset.settings import DatasetConfig, HubConfig
from sft.jobs.bring_dataset import BringArgs
from sft.jobs.scan_rows import PlacedFiles, ScanArgs

# What decides what is found in the rows, besides them.
RULES = {"format", "max_image_pixels", "max_image_bytes", "rules", "prompts", "images", "workers", "shown"}
# Folders of the data volume whose names follow from what lies in them: it does not change.
FIXED = ("buckets/", "hub/", "datasets/")
REPORTS = ".validated"  # on the data volume: reports on sets that lie in several folders


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
    if asked.placed == "hub":
        repo, revision = hub_of(asked.train)
        given: dict[str, Any] = {"scheme": "hf", "root": repo, "revision": revision, "hub": asked.hub}
    else:
        given = asdict(placed(asked.train, asked.held_out, asked.beside))
    return BringArgs.model_validate({**given, **_how(asked, there)})


def bring_one_args(config: RunConfig, address: str, there: int | None = None) -> BringArgs:
    """The same of a single set."""
    found = one_set(address)
    given: dict[str, Any] = {"scheme": found.scheme, "root": found.root, "train": found.file, "one": True}
    if found.scheme == "hf":
        given |= {"revision": found.revision, "hub": HubConfig.model_validate(dict(found.hub))}
    return BringArgs.model_validate({**given, **_how(config.dataset, there)})


def _how(asked: DatasetConfig, there: int | None) -> dict[str, Any]:
    bounds = {"endpoint": asked.endpoint, "max_image_bytes": asked.max_image_bytes}
    return {**bounds, "packing": asked.pack, "there": there}


def on_volume(config: RunConfig) -> PlacedFiles:
    """A dataset whose files lie on the data volume already."""
    found = placed(config.dataset.train, config.dataset.held_out, config.dataset.beside)
    return PlacedFiles(root=found.root, train=found.train, held_out=found.held_out, dev=found.dev)


def alone(config: RunConfig) -> RunConfig:
    """The configuration without the sets that do not come with the training set."""
    return config.model_copy(update={"dataset": config.dataset.alone()})


def as_local(files: PlacedFiles) -> DatasetFiles:
    """The same files as :mod:`sft.plan` takes them: relative to the data volume, below the folder that has all."""
    every = {split: Path(one.place) for split, one in files.every.items()}
    root = Path(os.path.commonpath([one.root for one in files.every.values()]))
    mix = {name: every[f"mix-{name}"] for name in files.mix}
    return DatasetFiles(root, every["train"], every["held_out"], every.get("dev"), mix)


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


def stored_report(compute: Compute, files: PlacedFiles, key: str) -> Report | None:
    """The report on sets in several folders, or a single set, whose content never changes; None where there is none."""
    found = read_json(compute, "data", f"{REPORTS}/{key}.json") if _is_fixed(files) else None
    return None if found is None else told.report_of(found)


def store_report(compute: Compute, files: PlacedFiles, report: Report, key: str) -> None:
    """Keep it, where nothing of the sets may change."""
    if _is_fixed(files):
        put_json(compute, "data", f"{REPORTS}/{key}.json", told.plain(report))


def _is_fixed(files: PlacedFiles) -> bool:
    return all(one.root.startswith(FIXED) for one in files.every.values())
