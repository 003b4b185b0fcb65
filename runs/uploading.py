"""A validated dataset comes to the data volume, once for each content. Needs no Prefect."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from compute.base import Compute
from compute.records import put_json
from sft.dataset.findings import Report
from sft.dataset.reading import image_folder, read_samples
from sft.plan import DatasetFiles

BATCH = 1000  # files in one request, between two lines that say how far it is


def upload(
    files: DatasetFiles,
    report: Report,
    compute: Compute,
    say: Callable[[str], None],
    room: Callable[[list[str]], None] = lambda paths: None,
) -> int:
    """Upload unless the record is there; returns the number of files sent.

    Args:
        room: is asked, before anything is sent, whether the volume takes these paths.
    """
    root = compute.dataset_root(files.root, report.fingerprint)
    if compute.read("data", f"{root}/record.json") is not None:
        return 0
    pairs = sorted((source, f"{root}/{name}") for name, source in _sources(files, report).items())
    room([path for _, path in pairs])
    for start in range(0, len(pairs), BATCH):
        compute.put_all("data", pairs[start : start + BATCH])
        say(f"uploaded {min(start + BATCH, len(pairs)):,} of {len(pairs):,} files")
    names = {"train": files.train.relative_to(files.root), "held_out": files.held_out.relative_to(files.root)}
    record = {**report.as_record(), "files": {key: name.as_posix() for key, name in names.items()}}
    put_json(compute, "data", f"{root}/record.json", record)
    return len(pairs)


def _sources(files: DatasetFiles, report: Report) -> dict[str, Path]:
    """Each file by its name below the folder of both: links keep the names that the rows use."""
    sources: dict[str, Path] = {}
    for path, form in ((files.train, report.train.format), (files.held_out, report.held_out.format)):
        sources[path.relative_to(files.root).as_posix()] = path
        folder = image_folder(path)
        for sample in read_samples(path, form):
            for image, _ in sample.images:
                place = os.path.normpath(folder / image)
                sources[os.path.relpath(place, files.root)] = Path(place)
    return sources
