"""Step validate-dataset: no GPU second is spent on a broken dataset."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from compute.select import state_folder
from sft import records
from sft.config import RunConfig
from sft.config.model import DigitsConfig
from sft.dataset.validate import Report, SplitStats, validate
from sft.errors import DatasetError
from sft.plan import DatasetFiles
from tasks.telling import tell


@task(
    name="validate-dataset",
    description="Read every row and image header; stop before money is spent on bad data",
    cache_policy=NO_CACHE,  # what has been done is asked of the volumes
)
def validate_dataset(config: RunConfig) -> tuple[DatasetFiles, Report]:
    """Validate both files of the dataset; composes the smoke dataset first where the profile asks for it.

    Raises:
        DatasetError: with every error found; nothing was changed.
    """
    files = dataset_files(config)
    report = validate(files.train, files.held_out, config.dataset)
    rows = [_row("train", report.train), _row("held-out", report.held_out)]
    create_table_artifact(rows, key="dataset", description=_findings(report))
    for line in report.lines():
        tell(line)
    report.check()
    tell(
        f"dataset {report.fingerprint[:12]}: {report.train.rows} training and {report.held_out.rows} held-out rows, "
        f"{report.train.images + report.held_out.images} images, no errors"
    )
    return files, report


def dataset_files(config: RunConfig) -> DatasetFiles:
    """The dataset's files; the smoke dataset is composed at first use."""
    if config.dataset.digits is not None:
        folder = composed_digits(config.dataset.digits)
        return DatasetFiles.of(folder / "train.jsonl", folder / "held_out.jsonl")
    files = {"dataset.train": Path(config.dataset.train), "dataset.held_out": Path(config.dataset.held_out)}
    for key, path in files.items():
        if not path.is_file():
            raise DatasetError(
                "the dataset file does not exist", where=key, value=str(path), remedy=f"correct it: --set {key}=PATH"
            )
    return DatasetFiles.of(*files.values())


def digits_folder(config: DigitsConfig) -> Path:
    """Where the smoke dataset of these settings lies, or will lie."""
    from sft.smoke.digits import DATASET_VERSION

    settings = {**config.model_dump(), "version": DATASET_VERSION}
    return state_folder() / "datasets" / f"digits-{records.fingerprint(settings)[:12]}"


def composed_digits(config: DigitsConfig) -> Path:
    """The folder of the smoke dataset, composed unless its record is there."""
    from sft.smoke import digits

    folder = digits_folder(config)
    if records.read_record(folder) is None:
        digits.write_dataset(folder, train_rows=config.train_rows, held_out_rows=config.held_out_rows, seed=config.seed)
        records.write_record(folder, config.model_dump())
        tell(f"composed {config.train_rows + config.held_out_rows} lines of handwritten digits in {folder}")
    return folder


def _row(name: str, stats: SplitStats) -> dict[str, object]:
    summary = stats.summary()
    tasks = ", ".join(f"{task} {count}" for task, count in sorted(summary["tasks"].items()))

    def span(key: str) -> str:
        return " / ".join(str(value) for value in summary[key])

    return {
        "set": name,
        "rows": stats.rows,
        "images": stats.images,
        "tasks": tasks,
        "characters (min / median / max)": span("lengths"),
        "width px (min / median / max)": span("widths"),
        "height px (min / median / max)": span("heights"),
        "format": stats.format,
    }


def _findings(report: Report) -> str:
    text = "\n".join(report.lines())
    return f"```\n{text}\n```" if text else "No rule is broken."
