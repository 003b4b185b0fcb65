"""Step validate-rows: rows that models are compared on are whole before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compute.base import Compute
from compute.records import read_json
from runs.dataset import dataset_files
from runs.placed import alone
from runs.results import read_stored
from runs.rows import OWN, looked_at, no_dev_set, own_file
from runs.uploading import copy_of, upload_file
from sft.config import RunConfig
from sft.dataset.findings import Report
from sft.dataset.split import FEW
from sft.jobs.placed_rows import RowsPlace
from sft.jobs.scan_rows import PlacedSet
from tasks.step import step
from tasks.telling import tell


@dataclass(frozen=True)
class Rows:
    """Rows where a job finds them; ``fingerprint`` is of their content and that of their images."""

    title: str
    place: RowsPlace
    fingerprint: str


@step("validate-rows", "Read every row that is to be judged, and every image; bring them to where the models read")
def validate_rows(config: RunConfig, compute: Compute, rows: str, guard: str = "", *, judges: bool = True) -> Rows:
    """Validate a file of rows, and put it on the data volume where the job runs elsewhere.

    Args:
        rows: its path, or train, held-out, dev: those of the configuration.
        guard: the guard set's name, where it is one.
        judges: models are judged by the rows, not the rows by a model.
    Raises:
        DatasetError: with every error found; nothing was sent.
        InputError: the configuration has no dev set.
    """
    if rows in OWN and config.dataset.volume:
        return _stored(config.dataset.volume, compute, rows)
    path = own_file(dataset_files(alone(config), tell), rows) if rows in OWN else Path(rows)
    path, report, place = _checked(config, compute, path, f"guard {guard}: " if guard else "", judges=judges)
    warn_of_few(guard, report)
    _, sent = _sent(config, compute, path, report)
    if compute.name != "local":
        tell(f"rows {place.root}: {sent} files uploaded" if sent else f"rows {place.root} are on the volume already")
    return Rows(path.stem, place, report.train.fingerprint)


@step("upload-rows", "Read a set of rows of this machine, and put it on the data volume beside the others")
def upload_rows(config: RunConfig, compute: Compute, path: str, *, judges: bool) -> PlacedSet:
    """Where it lies on the data volume, also where the job runs on this machine.

    Raises:
        DatasetError: with every error found; nothing was sent.
    """
    file, report, _ = _checked(config, compute, Path(path), "", judges=judges)
    root, _ = _sent(config, compute, file, report, copy_of(report.train.fingerprint))
    return PlacedSet(root=root, file=file.name)


def warn_of_few(guard: str, report: Report) -> None:
    """Say so where a guard set (else ``guard`` is empty) has too few rows for a score."""
    if guard and report.train.rows < FEW:
        tell(f"warning: guard {guard} has {report.train.rows} rows: below {FEW} a score says little")


def _checked(
    config: RunConfig, compute: Compute, path: Path, named: str, *, judges: bool
) -> tuple[Path, Report, RowsPlace]:
    path, report, place = looked_at(config, compute, path, tell, judges=judges)
    for line in report.lines():
        tell(line)
    report.check()
    tell(f"{named}{path.name}: {report.train.rows} rows, {report.train.images} images, no errors")
    return path, report, place


def _sent(config: RunConfig, compute: Compute, path: Path, report: Report, root: str = "") -> tuple[str, int]:
    room = partial(compute.check_room, "data", say=tell)
    return upload_file(path, report, compute, tell, room, config.dataset.pack, root)


def _stored(volume: str, compute: Compute, rows: str) -> Rows:
    place, _ = read_stored(volume, compute)
    record, kind = read_json(compute, "data", f"{place.root}/record.json") or {}, OWN[rows]
    if kind not in record["files"]:
        raise no_dev_set(f"{volume} on the data volume")
    tell(f"the {rows} rows of {volume} on the data volume, validated when they came there")
    found = record[kind]
    fingerprint = str(found.get("fingerprint") or f"{place.fingerprint}-{kind}")
    return Rows(rows, RowsPlace(root=place.root, file=record["files"][kind], format=found["format"]), fingerprint)
