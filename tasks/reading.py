"""Rows that are read in shares, several calls side by side, all by the same backend; and what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from compute.base import Compute
from runs.asked import predict_args
from sft.jobs.choose_reader import ChooseReaderArgs
from sft.jobs.placed import Named
from sft.jobs.placed_rows import RowsPlace
from sft.jobs.predict import Reading
from sft.report.instrument import PICTURES
from tasks.following import run_job, run_side_by_side

FILES = ("report.html", "report.json", "predictions.jsonl")


def read_in_shares(
    compute: Compute, args: Reading, models: Sequence[Named], rows: RowsPlace, shards: int, key: str
) -> None:
    """Let each model read the rows in so many calls; nothing is done where whoever compares reads everything itself.

    Args:
        key: of the comparison that the answers are for.
    """
    if shards > 1 and args.backend == "auto":  # one call chooses for all: they would wait for it, on GPUs
        how = args.model_dump(include=set(Reading.model_fields))
        asked = ChooseReaderArgs(**how, models=tuple(models), rows=rows)
        args = args.by(run_job(compute, f"choose-reader-{key}", "choose_reader", asked.model_dump())["backend"])
    shares = predict_args(args, models, rows, shards, key)
    run_side_by_side(compute, "predict", {name: share.model_dump() for name, share in shares.items()})


def bring_report(compute: Compute, place: str, folder: Path, scripts: int, files: Sequence[str] = FILES) -> None:
    """Let the files of a report on the outputs volume come to ``folder``, in place of those of an earlier one.

    Args:
        scripts: how many scripts of pictures lie beside the page.
    """
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    (folder / PICTURES if scripts else folder).mkdir(parents=True, exist_ok=True)
    for name in (*files, *(f"{PICTURES}/{number}.js" for number in range(1, scripts + 1))):
        compute.get("outputs", f"{place}/{name}", folder / name)
