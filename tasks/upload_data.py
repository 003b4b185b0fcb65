"""Step upload-data: the validated dataset on the data volume, once for each content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prefect import State
from prefect.states import Completed

from compute.base import Compute
from compute.records import put_json
from sft.dataset.findings import Report
from sft.dataset.reading import read_samples
from sft.dataset.rows import Format
from sft.plan import DatasetFiles
from tasks.step import step
from tasks.telling import tell

BATCH = 1000  # files in one request, between two lines that say how far it is


@dataclass(frozen=True)
class Uploaded:
    """``root`` is where jobs find the dataset; ``files`` were copied this time."""

    root: str
    files: int


@step("upload-data", "Copy the validated dataset to the data volume, unless the same content is there")
def upload_data(files: DatasetFiles, report: Report, compute: Compute) -> Uploaded | State[Uploaded]:
    """Upload rows and images. The record is written last: without it the set does not count.

    Raises:
        TransientError: the connection broke; what has arrived is not sent again.
    """
    root = compute.dataset_root(files.root, report.fingerprint)
    if compute.name == "local":
        reason = "compute local reads the dataset where it lies"
        tell(f"skipped: {reason}")
        return Completed(name="Skipped", message=reason, data=Uploaded(root, 0))
    count = upload(files, report, compute, tell)
    tell(f"dataset {root}: {count} files uploaded" if count else f"dataset {root} is on the volume already")
    return Uploaded(root, count)


def upload(files: DatasetFiles, report: Report, compute: Compute, say: Callable[[str], None]) -> int:
    """Upload unless the record is there; returns the number of files sent."""
    root = compute.dataset_root(files.root, report.fingerprint)
    if compute.read("data", f"{root}/record.json") is not None:
        return 0
    sources = {files.train, files.held_out}
    sources |= _images(files.train, report.train.format) | _images(files.held_out, report.held_out.format)
    pairs = [(s, f"{root}/{s.relative_to(files.root).as_posix()}") for s in sorted(sources)]
    for start in range(0, len(pairs), BATCH):
        compute.put_all("data", pairs[start : start + BATCH])
        say(f"uploaded {min(start + BATCH, len(pairs)):,} of {len(pairs):,} files")
    names = {"train": files.train.relative_to(files.root), "held_out": files.held_out.relative_to(files.root)}
    record = {**report.as_record(), "files": {key: name.as_posix() for key, name in names.items()}}
    put_json(compute, "data", f"{root}/record.json", record)
    return len(sources)


def _images(path: Path, form: Format) -> set[Path]:
    folder = path.resolve().parent
    return {(folder / name).resolve() for sample in read_samples(path, form) for name, _ in sample.images}
