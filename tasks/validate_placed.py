"""Step validate-dataset, for rows that lie elsewhere: they are read where they lie, by several calls side by side."""

from __future__ import annotations

from typing import Any

from compute.base import Compute
from runs.placed import as_local, scan_args
from sft.config import RunConfig
from sft.dataset.findings import Report
from sft.dataset.told import report_of
from sft.jobs.scan_rows import PlacedFiles
from sft.report.dataset import EXAMPLES
from tasks.following import run_job, run_side_by_side
from tasks.step import step
from tasks.telling import tell
from tasks.validate_dataset import judged


@step("validate-dataset", "Read every row and image where they lie, by several calls; stop before a GPU is paid for")
def validate_placed(config: RunConfig, files: PlacedFiles, compute: Compute) -> Report:
    """The report on a dataset on the data volume, the same as of one on this machine.

    Raises:
        DatasetError: with every error found; nothing was changed.
    """
    every = scan_args(config, files)
    calls: dict[str, dict[str, Any]] = {f"scan-{args.key}-{args.share}": args.model_dump() for args in every}
    run_side_by_side(compute, "scan_rows", calls)
    answer = run_job(compute, f"merge-{every[0].key}", "merge_scans", every[0].model_dump())
    report = report_of(answer["report"])
    judged(config, as_local(files), report, EXAMPLES if compute.name == "local" else 0)
    if answer["warning"]:
        tell(f"warning: {answer['warning']}")
    return report
