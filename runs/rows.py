"""A file of rows by itself: validated, and where a job will find it. Needs no Prefect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from compute.base import Compute
from runs.dataset import limits_for
from sft.config import RunConfig
from sft.dataset.elsewhere import kind_of
from sft.dataset.files import DatasetFiles
from sft.dataset.findings import Report
from sft.dataset.reading import image_folder
from sft.dataset.validate import validate_file
from sft.errors import InputError
from sft.jobs.evaluate import Guard
from sft.jobs.placed_rows import RowsPlace

# Sets of the configuration, as a user names them → as a dataset's record does.
OWN = {"train": "train", "held-out": "held_out", "dev": "dev"}
HELD_OUT = "held-out"


def own_file(files: DatasetFiles, rows: str) -> Path:
    """The file of a set of the configuration.

    Raises:
        InputError: it has no dev set.
    """
    path = files.every.get(OWN[rows])
    if path is None:
        raise no_dev_set("the configuration")
    return path


def no_dev_set(where: str) -> InputError:
    """The error where dev rows are asked for, and there is no file of them."""
    remedy = "give dataset.dev; with dataset.dev_share they are in train"
    return InputError("there is no dev set", where=where, value="dev", remedy=remedy)


def looked_at(
    config: RunConfig,
    compute: Compute,
    path: Path,
    say: Callable[[str], None] = lambda text: None,
    *,
    judges: bool = False,
) -> tuple[Path, Report, RowsPlace]:
    """(the file, what was found in it, where a job finds it).

    Args:
        judges: models are judged by its rows, which are none of their own answers then.
    Raises:
        DatasetError: the file is missing or empty. Breaches inside are in the report.
    """
    path = image_folder(path.expanduser()) / path.name
    report = validate_file(path, config.dataset, limits_for(config, compute, say), judges=judges)
    root = compute.dataset_root(path.parent, report.train.fingerprint)
    return path, report, RowsPlace(root=root, file=path.name, format=report.train.format)


def planned_guards(config: RunConfig, compute: Compute) -> dict[str, Guard]:
    """The guard sets as a run would name them, but for those that lie elsewhere: only a run looks at them.

    Raises:
        DatasetError: one of them is broken.
    """
    found = {}
    for name, path in config.dataset.guard.items():
        if kind_of(path):
            continue
        _, report, place = looked_at(config, compute, Path(path), judges=True)
        report.check()
        found[name] = Guard(rows=place, fingerprint=report.train.fingerprint)
    return found
