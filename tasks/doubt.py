"""Step doubt: labels that are probably wrong, as a report and as tasks for a label tool."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from prefect.artifacts import create_link_artifact

from compute.base import Compute
from compute.records import read_json
from sft.jobs.doubt import TASKS, DoubtArgs
from sft.store.doubts import Doubted
from tasks.following import run_job
from tasks.reading import bring_report
from tasks.step import step
from tasks.telling import tell


@step("doubt", "Which labels are probably wrong: the tuned model reads something else, and is sure of it or not alone")
def doubt(args: DoubtArgs, folder: Path, compute: Compute) -> Doubted:
    """The search's record (see :func:`sft.jobs.doubt.doubt`); its files come to ``folder``.

    Raises:
        IntegrityError: a model is damaged or does not load.
    """
    key = args.key()
    record = cast("Doubted | None", read_json(compute, "outputs", f"{args.folder()}/record.json"))
    if record is None:
        record = cast("Doubted", run_job(compute, f"doubt-{key}", "doubt", args.model_dump()))
    else:
        tell(f"search {key} was done before")
    bring_report(compute, args.folder(), folder, record.get("pictures", 0), ("report.html", "report.json", *TASKS))
    link = (folder / "report.html").resolve().as_uri()
    create_link_artifact(link, key="doubtful", link_text=f"doubtful labels of {record['title']}")
    return record
