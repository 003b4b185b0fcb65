"""Step upload-data: the validated dataset on the data volume, once for each content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from prefect import State
from prefect.states import Completed

from compute.base import Compute
from runs.uploading import upload
from sft.dataset.files import DatasetFiles
from sft.dataset.findings import Report
from sft.store.shards.choosing import Packing
from tasks.step import step
from tasks.telling import tell


@dataclass(frozen=True)
class Uploaded:
    """``root`` is where jobs find the dataset; ``files`` were copied this time."""

    root: str
    files: int


@step("upload-data", "Copy the validated dataset to the data volume, unless the same content is there")
def upload_data(
    files: DatasetFiles, report: Report, compute: Compute, packing: Packing = "auto", root: str = ""
) -> Uploaded | State[Uploaded]:
    """Upload rows and images. The record is written last: without it the set does not count.

    Args:
        root: on the data volume; empty: where jobs find it, which is no copy where they run on this machine.
    Raises:
        ComputeError: the volume does not take so many files; nothing was sent.
        TransientError: the connection broke; what has arrived is not sent again.
    """
    where = root or compute.dataset_root(files.root, report.fingerprint)
    if compute.name == "local" and not root:
        reason = "compute local reads the dataset where it lies"
        tell(f"skipped: {reason}")
        return Completed(name="Skipped", message=reason, data=Uploaded(where, 0))
    room = partial(compute.check_room, "data", say=tell)
    count = upload(files, report, compute, tell, room, packing, root)
    tell(f"dataset {where}: {count} files uploaded" if count else f"dataset {where} is on the volume already")
    return Uploaded(where, count)
