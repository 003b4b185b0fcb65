"""Step check-export: a new process loads the saved model and gives the answers that were evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from compute.base import Compute
from compute.records import read_json
from sft.jobs.check_export import CheckExportArgs, settled
from sft.metrics.gate import reproduced
from sft.store.contents import Export, Training
from sft.store.volumes import run_place
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell

REPORTS = ("report.html", "report.json")


@step("check-export", "Load the saved model in a new process: complete, and the same answers as evaluated")
def check_export(args: CheckExportArgs, training: Training, folder: Path, compute: Compute) -> Export:
    """The check's record (see :func:`sft.jobs.check_export.check_export`). A broken export is a result, no error.

    The report in ``folder`` is fetched again: the check's outcome stands in it now.
    """
    place = args.check_folder(training["model_identity"])
    known = read_json(compute, "outputs", f"{run_place(args.identity)}/{place}/record.json")
    record = cast("Export | None", known)
    if record is None or (compute.name == "local" and not settled(record)):
        key = f"check-export-{args.identity[:16]}-{args.key(training['model_identity'])}"
        record = cast("Export", run_job(compute, key, "check_export", args.model_dump()))
        for name in REPORTS:
            compute.get(
                "outputs", f"{run_place(args.identity)}/{args.folder(training['model_identity'])}/{name}", folder / name
            )
    said = "; ".join(record["problems"])
    tell(f"export: {'BROKEN: ' + said if said else reproduced(record)}")
    return record
