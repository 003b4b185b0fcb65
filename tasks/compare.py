"""Step compare: any models read the same rows, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from compute.base import Compute
from compute.records import read_json
from runs.comparing import table
from sft.jobs.compare import CompareArgs
from sft.report.comparison import comparison_remarks
from sft.store.contents import Compared
from tasks.following import run_job
from tasks.reading import bring_report, read_in_shares
from tasks.step import step
from tasks.telling import tell


@step("compare", "The models read the same rows: CER, WER, NED, TEDS, intervals, differences to the first model")
def compare(args: CompareArgs, folder: Path, compute: Compute, shards: int = 1) -> Compared:
    """The comparison's record (see :func:`sft.jobs.compare.compare`); its files come to ``folder``.

    Raises:
        IntegrityError: a model is damaged or does not load.
    """
    key = args.key()
    record = cast("Compared | None", read_json(compute, "outputs", f"{args.folder()}/record.json"))
    if record is None:
        # What each share has read is found by the comparison; so is what an earlier run or training has read.
        read_in_shares(compute, args, args.models, args.rows, shards, key)
        record = cast("Compared", run_job(compute, f"compare-{key}", "compare", args.model_dump()))
    else:
        tell(f"comparison {key} was done before")
    bring_report(compute, args.folder(), folder, record.get("pictures", 0))
    text = "\n".join((*(f"- {remark}." for remark in comparison_remarks(record)), "", *table(record)))
    create_markdown_artifact(text, key="comparison", description=f"{', '.join(record['models'])} on {record['title']}")
    create_link_artifact((folder / "report.html").resolve().as_uri(), key="report", link_text="comparison report")
    return record
