"""Can what is to be read be read: pages, rows, a task? Said within two seconds, so Prefect is not imported here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from runs.checking import check_folder, check_model
from runs.named_models import check_models
from runs.rows import OWN
from sft.config import RunConfig
from sft.dataset.elsewhere import kind_of, wrong
from sft.dataset.reading import detect_file
from sft.dataset.tasks import BUILT_IN, find, known
from sft.download import check_scheme
from sft.errors import InputError, check_all, raise_all
from sft.families import Task
from sft.models import pages

WHOLE = "page"  # the task that reads a page with its layout
SHOWN = 5  # paths that an error names


def check_sources(sources: Sequence[str]) -> None:
    """Raises InputError if pages to be read are not there, or lie where nothing fetches them."""
    for source in sources:
        if "://" in source:
            check_scheme(source)
    if missing := [source for source in sources if "://" not in source and not Path(source).exists()]:
        raise InputError("no such file or folder", value=", ".join(missing[:SHOWN]), remedy="correct the path")
    problems: list[InputError] = []
    for source in sources:
        try:
            if "://" not in source:
                pages.look(Path(source))
        except InputError as error:
            problems.append(error)
    if problems and len(problems) == len(sources):  # where one can be read, the others are told of beside its result
        raise_all(problems)


def check_reading(sources: Sequence[str], model: str, out: Path) -> None:
    """Raises InputError if pages cannot be read, there can be no such model, or ``out`` cannot be written to: all of it
    at once.
    """
    check_all(lambda: check_model(model), lambda: check_sources(sources), lambda: check_folder(out))


def check_answers(rows: Path | None, task: str) -> None:
    """Raises InputError if answers cannot become rows of a new file."""
    if rows is None:
        return
    if task == WHOLE:
        remedy = "use --task ocr, or another of single elements"
        raise InputError("answers to whole pages are no rows", where="--rows", value=task, remedy=remedy)
    if rows.exists():
        raise InputError("the file exists", where=str(rows), remedy="choose another name for --rows")


def check_task(name: str, config: RunConfig) -> Task:
    """The task that a user names; that of whole pages has no prompt.

    Raises:
        InputError: there is no such task, or the base model was not trained for it.
    """
    if name == WHOLE:
        return Task(WHOLE, "")
    among = known(config.dataset.prompts, config.family.tasks)
    found = find(name, among)
    if found is None:
        names = ", ".join((*(task.name for task in among.values()), WHOLE))
        later = find(name, BUILT_IN)
        said = f"PaddleOCR-VL-{config.family.name} was not trained for it" if later else "no such task"
        own = f"; a model that you trained for it: --task '{later.prompt}'" if later else ", or a prompt in quotes"
        raise InputError(said, where="--task", value=name, remedy=f"use {names}{own}")
    return found


def check_compared(models: Sequence[str], rows: str) -> None:
    """Raises InputError if models can be none, or the rows no file of rows: all of it at once."""
    check_all(lambda: check_models(models), lambda: check_rows(rows))


def check_rows(rows: str) -> None:
    """Raises InputError if rows are neither a set of the configuration nor a file of rows, nor can be one elsewhere."""
    if said := wrong(rows):
        raise InputError("an address that names no rows", where="rows", value=rows, remedy=said)
    if rows not in OWN and not kind_of(rows):
        detect_file(Path(rows).expanduser())


def check_doubted(rows: Sequence[str], model: str, odds: float) -> None:
    """Raises InputError if no labels can be searched so: all of it at once."""

    def asked() -> None:
        if not rows:
            raise InputError("no rows are named", where="rows", remedy="name train, held-out or a JSONL file")
        if not odds > 1:
            remedy = "use a number above 1: 100 finds what is nearly certain, 20 more than that"
            raise InputError("odds are above 1", where="odds", value=f"{odds:g}", remedy=remedy)

    check_all(asked, lambda: check_models([model]), *(partial(check_rows, one) for one in rows))
