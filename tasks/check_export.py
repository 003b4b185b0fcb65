"""Step check-export: a new process loads the saved model and gives the answers that were evaluated."""

from __future__ import annotations

from typing import Any

from compute.base import Compute
from compute.records import read_json
from sft.jobs.check_export import CheckExportArgs
from sft.volumes import run_place
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell


@step("check-export", "Load the saved model in a new process: complete, and the same answers as evaluated")
def check_export(args: CheckExportArgs, training: dict[str, Any], compute: Compute) -> dict[str, Any]:
    """The check's record (see :func:`sft.jobs.check_export.check_export`). A broken export is a result, no error."""
    place = args.check_folder(training["model_identity"])
    record = read_json(compute, "outputs", f"{run_place(args.identity)}/{place}/record.json")
    if record is None:
        key = f"check-export-{args.identity[:16]}-{args.key(training['model_identity'])}"
        record = run_job(compute, key, "check_export", args.model_dump())
    said = "; ".join(record["problems"])
    whole = f"loads in a new process, {record['equal']} of {record['rows']} answers reproduced"
    tell(f"export: {'BROKEN: ' + said if said else whole}")
    return record
