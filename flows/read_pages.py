"""The flow ``read``: a model reads images, PDFs, folders or addresses; Markdown and JSON for each page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel

from compute.base import Compute
from flows.choosing import ended
from flows.deployments import NOTHING, Given
from runs.readable import check_reading, check_task
from runs.reading import read_sources
from runs.waiting import Heard
from sft.config import RunConfig
from sft.errors import JobError, check_all
from sft.store.records import fingerprint
from tasks.following import run_job
from tasks.step import step
from tasks.telling import pass_on, tell

SHOWN = 50  # pages that the artifact lists
FIRST = 80  # characters of a page that it shows


class Read(BaseModel):
    """What was read: the folder, the pages' names, and what could not be read."""

    folder: Path
    pages: list[str]
    broken: str = ""


def run_name() -> str:
    """The flow run's name in the UI: the model, and what it reads."""
    from prefect.runtime import flow_run

    asked = flow_run.parameters
    return f"{asked['model']}: {', '.join(map(str, asked['sources']))}"[:80]


@flow(
    name="read",
    description="A model reads images, PDF files, folders of them, or addresses: Markdown and JSON for each page",
    flow_run_name=run_name,
)
def read_pages(
    sources: list[str], model: str = "champion", task: str = "ocr", out: str = "read", config: Given = NOTHING
) -> Read | State[Read]:
    """Read, and write NAME.md and NAME.json for each page. A cancelled run ends as Cancelled, its job stopped.

    Args:
        sources: Images, PDF files, folders of them, or http(s) addresses.
        model: base, champion, the identity of a training, or IDENTITY/checkpoint-N.
        task: ocr, table, formula, chart, spotting, seal, a name of dataset.prompts, or a prompt; page: with its layout.
        out: The folder for the answers.
        config: The run's values. A deployment fills in those of its profile; what is left out is the profile's.

    Raises:
        JobError: some files could not be read; the answers to the others lie in the folder.
    """
    told = lambda read: f"{len(read.pages)} pages are read: {read.folder}"  # noqa: E731
    return ended(config, lambda settings: steps(settings, sources, model, task, Path(out)), told)


def steps(config: RunConfig, sources: list[str], model: str, task: str, out: Path) -> Read:
    """The one step.

    Raises:
        JobError: some of the files could not be read.
    """
    check_all(lambda: check_reading(sources, model, out), lambda: check_task(task, config))
    read = read_all(config, sources, model, task, out.resolve())
    if read.broken:
        raise JobError(read.broken, remedy="see each line's advice")
    return read


@step("read", "The model reads all pages; the answers lie in a folder")
def read_all(config: RunConfig, sources: list[str], model: str, task: str, out: Path) -> Read:
    """What was read, with a table of the first pages."""

    def run(compute: Compute, job: str, args: dict[str, Any], heard: Heard) -> dict[str, Any]:
        def hear(event: dict[str, Any]) -> None:
            heard(event)
            pass_on(event)

        return run_job(compute, f"{job}-{fingerprint(args)[:16]}", job, args, hear)

    lines, read = ["| page | begins with |", "|---|---|"], Read(folder=out, pages=[])
    try:
        for page, text in read_sources(config, sources, model, task, out, run=run):
            read.pages.append(page.name)
            if len(read.pages) <= SHOWN:
                begin = " ".join(text.split())[:FIRST].replace("|", "\\|") or "(empty)"
                lines.append(f"| {page.name} | {begin} |")
    except JobError as error:  # what can be read lies in the folder
        if not read.pages:
            raise
        read.broken = error.message
    more = len(read.pages) - SHOWN
    lines += [f"| and {more} more | |"] if more > 0 else []
    create_markdown_artifact("\n".join(lines), key="pages", description=f"{len(read.pages)} pages, in {out}")
    tell(f"{len(read.pages)} pages are read: {out}")
    return read
