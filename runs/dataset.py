"""The dataset's files on this machine, and what a row of them may become. Needs no Prefect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from compute.base import Compute
from compute.select import state_folder
from runs.base_tokenizer import base_tokenizer
from sft.config import RunConfig
from sft.dataset.files import DatasetFiles
from sft.dataset.settings import DigitsConfig
from sft.dataset.tokens import Limits
from sft.engines import ENGINES
from sft.jobs.scan_rows import Room
from sft.jobs.scan_rows import limits_of as in_room
from sft.plan import download_args
from sft.processes import alone_at
from sft.store import records


def limits_for(config: RunConfig, compute: Compute, say: Callable[[str], None] = lambda _: None) -> Limits:
    """What a row may become: by the base model's own tokenizer and image bounds, in the engine's hands."""
    return limits_of(config, base_tokenizer(config, compute, say))


def limits_of(config: RunConfig, folder: Path | None) -> Limits:
    """The same by a folder with the base model's small files; None: by what is known of its family."""
    return in_room(room_of(config), folder)


def room_of(config: RunConfig) -> Room:
    """The same as plain data, for a job that looks at rows where they lie."""
    enlarges = ENGINES[config.engine].enlarges if config.train.augment == "template" else 1.0
    return Room(
        family=config.family.name,
        model=download_args(config).folder,
        max_seq_len=config.train.max_seq_len,
        enlarges=enlarges,
        answer=config.evaluate.max_new_tokens,
    )


def dataset_files(config: RunConfig, say: Callable[[str], None] = lambda _: None) -> DatasetFiles:
    """The dataset's files; the smoke dataset is composed at first use."""
    if config.dataset.digits is not None:
        folder = composed_digits(config.dataset.digits, say)
        mix = {name: Path(mixed.path).expanduser() for name, mixed in config.dataset.mix.items()}
        return DatasetFiles.of(folder / "train.jsonl", folder / "held_out.jsonl", mix=mix)
    return DatasetFiles.named(config.dataset)


def digits_folder(config: DigitsConfig) -> Path:
    """Where the smoke dataset of these settings lies, or will lie."""
    from sft.smoke.digits import DATASET_VERSION

    settings = {**config.model_dump(), "version": DATASET_VERSION}
    return state_folder() / "datasets" / f"digits-{records.fingerprint(settings)[:12]}"


def composed_digits(config: DigitsConfig, say: Callable[[str], None]) -> Path:
    """The folder of the smoke dataset, composed unless its record is there."""
    from sft.smoke import digits

    folder = digits_folder(config)
    with alone_at(folder):  # two runs that start at the same moment compose it once
        if records.read_record(folder) is not None:
            return folder
        digits.write_dataset(folder, train_rows=config.train_rows, held_out_rows=config.held_out_rows, seed=config.seed)
        records.write_record(folder, config.model_dump())
        say(f"composed {config.train_rows + config.held_out_rows} lines of handwritten digits in {folder}")
    return folder
