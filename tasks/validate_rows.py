"""Step validate-rows: rows that models are compared on are whole before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compute.base import Compute
from compute.records import read_json
from runs.dataset import dataset_files, limits_for
from runs.results import read_stored
from runs.uploading import upload_file
from sft.config import RunConfig
from sft.dataset.reading import image_folder
from sft.dataset.validate import validate_file
from sft.jobs.placed_rows import RowsPlace
from tasks.step import step
from tasks.telling import tell

HELD_OUT = "held-out"  # names the profile's own held-out rows


@dataclass(frozen=True)
class Rows:
    """Rows where a job finds them; ``fingerprint`` is of their content and that of their images."""

    title: str
    place: RowsPlace
    fingerprint: str


@step("validate-rows", "Read every row that is to be judged, and every image; bring them to where the models read")
def validate_rows(config: RunConfig, compute: Compute, rows: str) -> Rows:
    """Validate a file of rows, and put it on the data volume where the job runs elsewhere.

    Args:
        rows: its path, or held-out: those of the configuration.
    Raises:
        DatasetError: with every error found; nothing was sent.
    """
    if rows == HELD_OUT and config.dataset.volume:
        return _stored(config.dataset.volume, compute)
    path = dataset_files(config, tell).held_out if rows == HELD_OUT else Path(rows).expanduser()
    path = image_folder(path) / path.name
    report = validate_file(path, config.dataset, limits_for(config, compute, tell))
    for line in report.lines():
        tell(line)
    report.check()
    found = report.train
    tell(f"{path.name}: {found.rows} rows, {found.images} images, no errors")
    root, sent = upload_file(path, report, compute, tell, lambda paths: compute.check_room("data", paths, tell))
    if compute.name != "local":
        tell(f"rows {root}: {sent} files uploaded" if sent else f"rows {root} are on the volume already")
    return Rows(path.stem, RowsPlace(root=root, file=path.name, format=found.format), found.fingerprint)


def _stored(volume: str, compute: Compute) -> Rows:
    place, _ = read_stored(volume, compute)
    record = read_json(compute, "data", f"{volume}/record.json") or {}
    tell(f"the held-out rows of {volume} on the data volume, validated when they came there")
    rows = RowsPlace(root=place.root, file=place.held_out, format=place.held_out_format)
    return Rows(HELD_OUT, rows, str(record["held_out"].get("fingerprint") or place.fingerprint))
