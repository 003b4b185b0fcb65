"""Step validate-dataset, for rows that lie elsewhere: they are read where they lie, by several calls side by side."""

from __future__ import annotations

from typing import Any

from compute.base import Compute
from runs.placed import as_local, scan_args, store_report, stored_report
from sft.config import RunConfig
from sft.dataset.findings import Report
from sft.dataset.told import report_of
from sft.jobs.scan_rows import PlacedFiles, PlacedSet
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
    report, warning = _read(config, files, compute)
    judged(config, as_local(files), report, EXAMPLES if compute.name == "local" else 0)
    if warning:
        tell(f"warning: {warning}")
    return report


@step("validate-rows", "Read every row that is to be judged where it lies, and every image")
def validate_placed_rows(config: RunConfig, rows: PlacedSet, compute: Compute, name: str, *, judges: bool) -> Report:
    """The report on a single set on the data volume; it is kept where the set cannot change.

    Raises:
        DatasetError: with every error found.
    """
    files = PlacedFiles(root=rows.root, train=rows.file, judges=judges)
    key = scan_args(config, files)[0].key
    report = stored_report(compute, files, key)
    if report is None and not judges:  # rows that may judge are as whole as any
        strict = files.model_copy(update={"judges": True})
        report = stored_report(compute, strict, scan_args(config, strict)[0].key)
    if report is None:
        report, _ = _read(config, files, compute)
        for line in report.lines():
            tell(line)
        report.check()
        store_report(compute, files, report, key)
    found = report.train
    tell(f"{name}: {found.rows} rows, {found.images} images, no errors")
    return report


def _read(config: RunConfig, files: PlacedFiles, compute: Compute) -> tuple[Report, str]:
    """(what was found, a warning of answers that cannot be read whole or an empty text)."""
    every = scan_args(config, files)
    calls: dict[str, dict[str, Any]] = {f"scan-{args.key}-{args.share}": args.model_dump() for args in every}
    run_side_by_side(compute, "scan_rows", calls)
    answer = run_job(compute, f"merge-{every[0].key}", "merge_scans", every[0].model_dump())
    return report_of(answer["report"]), str(answer["warning"])
