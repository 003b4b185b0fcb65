"""A validated dataset comes to the data volume, once for each content. Needs no Prefect."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compute.base import Compute
from compute.records import put_json
from runs.results import POINTS
from sft.dataset.files import DatasetFiles
from sft.dataset.findings import Report
from sft.dataset.reading import image_folder, read_samples
from sft.dataset.rows import Format

Say = Callable[[str], None]
Room = Callable[[list[str]], None]
NAMED = "named"  # folder of the data volume with the names of datasets
BATCH = 1000  # files in one request, between two lines that say how far it is


def upload(
    files: DatasetFiles,
    report: Report,
    compute: Compute,
    say: Say,
    room: Room = lambda paths: None,
) -> int:
    """Upload unless the record is there; returns the number of files sent.

    Args:
        room: is asked, before anything is sent, whether the volume takes these paths.
    """
    names = {key: file.relative_to(files.root).as_posix() for key, file in files.every.items()}
    record = {**report.as_record(), "files": names}
    every = [(file, stats.format) for file, stats in zip(files.every.values(), report.splits, strict=True)]
    return _upload(files.root, every, compute.dataset_root(files.root, report.fingerprint), record, compute, say, room)


def name_dataset(compute: Compute, name: str, root: str) -> str:
    """Let a name stand for the dataset at ``root`` from now on; returns what ``dataset.volume`` is to say."""
    place = f"{NAMED}/{name}"
    put_json(compute, "data", f"{place}/record.json", {POINTS: root})
    return place


def upload_file(path: Path, report: Report, compute: Compute, say: Say, room: Room) -> tuple[str, int]:
    """One file of rows and its images, for models that are compared on it; (where a job finds them, files sent).

    Args:
        report: of :func:`sft.dataset.validate.validate_file`.
    """
    found = report.train
    root = compute.dataset_root(path.parent, found.fingerprint)
    if compute.name == "local":
        return root, 0
    record = {"file": path.name, "rows": found.rows, "format": found.format, "fingerprint": found.fingerprint}
    return root, _upload(path.parent, ((path, found.format),), root, record, compute, say, room)


def _upload(
    folder: Path,
    files: Sequence[tuple[Path, Format]],
    root: str,
    record: dict[str, Any],
    compute: Compute,
    say: Say,
    room: Room,
) -> int:
    if compute.read("data", f"{root}/record.json") is not None:
        return 0
    pairs = sorted((source, f"{root}/{name}") for name, source in _sources(folder, files).items())
    room([path for _, path in pairs])
    for start in range(0, len(pairs), BATCH):
        compute.put_all("data", pairs[start : start + BATCH])
        say(f"uploaded {min(start + BATCH, len(pairs)):,} of {len(pairs):,} files")
    put_json(compute, "data", f"{root}/record.json", record)
    return len(pairs)


def _sources(root: Path, files: Sequence[tuple[Path, Format]]) -> dict[str, Path]:
    """Each file by its name below the folder of all: links keep the names that the rows use."""
    sources: dict[str, Path] = {}
    for path, form in files:
        sources[path.relative_to(root).as_posix()] = path
        folder = image_folder(path)
        for sample in read_samples(path, form):
            for image, _ in sample.images:
                place = os.path.normpath(folder / image)
                sources[os.path.relpath(place, root)] = Path(place)
    return sources
