"""What is wrong with a run before anything is started: said within two seconds, so Prefect is not imported here."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from compute.select import state_folder
from sft.config import RunConfig
from sft.dataset.reading import detect_file
from sft.dataset.rules import TASKS
from sft.download import check_scheme
from sft.errors import InputError
from sft.plan import DatasetFiles

PROMPTS = {task: prompt for prompt, task in TASKS.items()}
WHOLE = "page"  # the task that reads a page with its layout
SHOWN = 5  # paths that an error names


def check_sources(sources: Sequence[str]) -> None:
    """Raises InputError if pages to be read are not there, or lie where nothing fetches them."""
    for source in sources:
        if "://" in source:
            check_scheme(source)
    if missing := [source for source in sources if "://" not in source and not Path(source).exists()]:
        raise InputError("no such file or folder", value=", ".join(missing[:SHOWN]), remedy="correct the path")


def check_reading(sources: Sequence[str], task: str, out: Path) -> None:
    """Raises InputError if pages cannot be read, there is no such task, or results cannot be written to ``out``."""
    if task != WHOLE and task not in PROMPTS:
        raise InputError("no such task", value=task, remedy=f"use {', '.join((*PROMPTS, WHOLE))}")
    check_sources(sources)
    check_folder(out)


def check_folder(folder: Path) -> None:
    """Raises InputError if a folder cannot be made, or written to: before hours are spent on what is to go there."""
    above = folder.absolute()
    while not above.exists() and not above.is_symlink():
        above = above.parent
    if not above.is_dir():
        remedy = "choose another folder, or move that file away"
        raise InputError(
            "no folder can be made there, because a file is in its place",
            where=str(folder),
            value=str(above),
            remedy=remedy,
        )
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        remedy = "choose another folder; ls -ld shows who may write there, df -h how much room there is"
        said = f"nothing can be written there: {error.strerror or error}"
        raise InputError(said, where=str(folder), value=str(above), remedy=remedy) from error


def check_modal() -> None:
    """Raises ComputeError or TransientError if there is no token, or no way to Modal (:func:`compute.reach.ready`)."""
    from compute.reach import ready  # a run on this machine needs no client

    ready()


def check_first(config: RunConfig) -> None:
    """Look at what a run needs that can be seen from here.

    Raises:
        DatasetError: a dataset file is missing, empty or of no known format.
        InputError: nothing can be written to ``output.folder``, or to the state's folder.
        ComputeError, TransientError: there is no token, or no way to Modal.
    """
    if config.dataset.digits is None and not config.dataset.volume:
        files = DatasetFiles.named(config.dataset)
        for path in (files.train, files.held_out):
            detect_file(path)
    check_folder(Path(config.output.folder))
    check_folder(state_folder())
    if config.compute == "modal":
        check_modal()
