"""Rows that lie elsewhere, as steps of a flow: brought to the data volume, and validated there."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from compute.base import Compute
from runs.placed import alone, as_local, is_stored, scan_args, store, store_report, stored_report
from runs.rows import OWN, no_dev_set
from runs.uploading import copy_of
from sft import plan
from sft.config import RunConfig
from sft.dataset.elsewhere import kind_of, one_set
from sft.dataset.packing import Amount
from sft.jobs.placed_rows import DatasetPlace, RowsPlace
from sft.jobs.scan_rows import PlacedFiles, PlacedSet
from tasks.bring_dataset import bring_dataset, bring_rows
from tasks.ensure_base_model import ensure_base_model
from tasks.stored_dataset import stored_dataset
from tasks.telling import tell
from tasks.upload_data import upload_data
from tasks.validate_dataset import validate_dataset
from tasks.validate_placed import validate_placed, validate_placed_rows
from tasks.validate_rows import Rows, upload_rows, validate_rows, warn_of_few


def is_elsewhere(config: RunConfig) -> bool:
    """Does the training set, or one that is looked at together with it, lie elsewhere than on this machine?"""
    return not config.dataset.volume and bool(config.dataset.placed or config.dataset.apart)


def placed_dataset(config: RunConfig, compute: Compute) -> tuple[DatasetPlace, Amount]:
    """Where the jobs find the rows, and what is trained on: all sets lie on the data volume in the end."""
    ensure_base_model(config, compute)  # its tokenizer counts where the rows lie
    asked, others = config.dataset, config.dataset.apart
    files = _main(alone(config), compute)
    if others:
        return _together(config, compute, _with(files, _others(config, compute, others)))
    key = scan_args(config, files)[0].key
    brought = asked.placed != "volume"  # what lies there for others may change; what was brought does not
    if brought and is_stored(compute, files, key):
        return stored_dataset(files.root, compute, config.train.max_seq_len, asked.dev_share, asked.part)
    report = validate_placed(config, files, compute)
    if brought:
        store(compute, files, report, key)
    return plan.dataset_of(config, as_local(files), report, files.root)


def _main(config: RunConfig, compute: Compute) -> PlacedFiles:
    """The training set and what lies beside it. Files of this machine are validated here and sent."""
    if config.dataset.placed:
        return bring_dataset(config, compute)
    files, report = validate_dataset(config, compute)
    root = copy_of(report.fingerprint)
    upload_data(files, report, compute, config.dataset.pack, root)
    names = {split: path.relative_to(files.root).as_posix() for split, path in files.every.items()}
    mix = {name: PlacedSet(root=root, file=names[f"mix-{name}"]) for name in files.mix}
    return PlacedFiles(root=root, train=names["train"], held_out=names["held_out"], dev=names.get("dev", ""), mix=mix)


def _others(config: RunConfig, compute: Compute, others: dict[str, str]) -> dict[str, PlacedSet]:
    def one(split: str, given: str) -> PlacedSet:
        return (
            bring_rows(config, compute, given)
            if kind_of(given)
            else upload_rows(config, compute, given, judges=split == "dev")
        )

    return {split: one(split, given) for split, given in sorted(others.items())}


def _with(files: PlacedFiles, others: dict[str, PlacedSet]) -> PlacedFiles:
    mix = {split.removeprefix("mix-"): one for split, one in others.items() if split != "dev"}
    return files.model_copy(update={"own_dev": others.get("dev"), "mix": dict(sorted({**files.mix, **mix}.items()))})


def _together(config: RunConfig, compute: Compute, files: PlacedFiles) -> tuple[DatasetPlace, Amount]:
    """The sets are compared with each other where they lie."""
    key, local = scan_args(config, files)[0].key, as_local(files)
    report = stored_report(compute, files, key)
    if report is None:
        report = validate_placed(config, files, compute)
        store_report(compute, files, report, key)
    else:
        tell(f"dataset {report.fingerprint[:12]}: {report.train.rows} training rows, validated before")
    return plan.dataset_of(config, local, report, local.root.as_posix())


def rows_of(config: RunConfig, compute: Compute, rows: str, guard: str = "", *, judges: bool = True) -> Rows:
    """Rows that models are judged by, validated where they lie: on this machine, or elsewhere.

    Args:
        rows: a path or an address, or train, held-out, dev: those of the configuration.
        guard: the guard set's name, where it is one.
        judges: models are judged by the rows, not the rows by a model.
    Raises:
        DatasetError: with every error found; InputError: the configuration has no dev set.
    """
    asked = config.dataset
    given = _given(config, rows)
    if kind_of(given) is None:
        return validate_rows(config, compute, given, guard, judges=judges)
    ensure_base_model(config, compute)
    own = rows in OWN and asked.placed is not None and (rows != "dev" or bool(asked.beside))
    if own:
        files = bring_dataset(alone(config), compute)
        place = files.every[OWN[rows]]
    else:
        place = bring_rows(config, compute, given)
    title = rows if rows in OWN else _title(given)
    report = validate_placed_rows(config, place, compute, f"guard {guard}: {title}" if guard else title, judges=judges)
    warn_of_few(guard, report)
    found = report.train
    return Rows(title, RowsPlace(root=place.root, file=place.file, format=found.format), found.fingerprint)


def _given(config: RunConfig, rows: str) -> str:
    """The address of the rows, or their path, or the name of a set that lies on this machine."""
    asked = config.dataset
    if rows not in OWN or asked.volume or asked.digits is not None:
        return rows
    if rows != "dev":
        return asked.train if asked.placed else rows  # the Hub's held-out rows have no address of their own
    if not asked.dev:
        raise no_dev_set("the configuration")
    return asked.dev if asked.placed or kind_of(asked.dev) else rows


def _title(address: str) -> str:
    found = one_set(address)
    return PurePosixPath(found.root).name if found.scheme == "hf" else Path(found.file).name.partition(".jsonl")[0]
