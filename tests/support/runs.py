"""Small real trainings for tests."""

from __future__ import annotations

from compute.local import LocalCompute
from sft.config import load
from sft.dataset.files import DatasetFiles
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate
from sft.jobs.train import TrainArgs
from sft.plan import dataset_place, download_args, train_args
from sft.smoke import digits
from sft.store.contents import Base

ROWS = 32


def short_training(compute: LocalCompute, *, steps: int = 4, save_steps: int = 2, held_out: int = 8) -> TrainArgs:
    """Arguments of a training of ``steps`` steps on 32 lines of digits below the state folder."""
    folder = compute.state / "digits"
    if not (folder / "held_out.jsonl").exists():
        digits.write_dataset(folder, train_rows=ROWS, held_out_rows=held_out, seed=1)
    files = DatasetFiles.of(folder / "train.jsonl", folder / "held_out.jsonl")
    report = validate(files.train, files.held_out, DatasetConfig())
    settings = [
        f"train.max_steps={steps}",
        f"train.save_steps={save_steps}",
        "train.logging_steps=1",
        "train.batch_size=4",
    ]
    config = load("smoke", settings).config
    base: Base = {"name": download_args(config).folder, "identity": "x", "files": {}}
    return train_args(config, dataset_place(files, report, str(folder)), report.train.amount, base)
