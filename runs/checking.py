"""What is wrong with a run before anything is started: said within two seconds, so Prefect is not imported here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from compute.base import Compute
from compute.select import compute_for, state_folder
from runs.on_hub import check_base_model
from runs.parts import TYPED
from runs.results import read_stored
from sft.config import RunConfig
from sft.dataset.elsewhere import kind_of
from sft.dataset.files import DatasetFiles
from sft.dataset.reading import detect_file
from sft.dataset.settings import NAME, DatasetConfig
from sft.errors import InputError, check_all
from sft.models.readers import unavailable
from sft.store.volumes import RUNS
from sft.training.wheels import CUDNN95, WHEELS

KNOWN_WHEELS = {source.name: source for source in (*WHEELS.values(), CUDNN95)}
SHOWN = 5  # checkpoints that an error names
REASON = 500  # characters of a reason
SWEEP, CURVE = "sweep", "curve"  # what trials are of


def check_model(model: str) -> None:
    """Raises InputError if no model can be called so."""
    if model not in ("base", "champion") and not re.fullmatch(r"[0-9a-f]{16,64}(/checkpoint-\d+)?", model):
        remedy = "use base, champion, a training's identity (at least its first 16 digits; sft status lists them), or "
        raise InputError("no model is called so", value=model, remedy=f"{remedy}IDENTITY/checkpoint-N")


def check_parts(config: RunConfig, parts: Sequence[float]) -> None:
    """Raises InputError if a curve cannot be drawn through such parts."""
    if bad := [part for part in parts if not 0 < part <= 1]:
        said, remedy = "a part is a fraction of the training set", f"use {TYPED}"
        raise InputError(said, where="--parts", value=", ".join(f"{part:g}" for part in bad), remedy=remedy)
    if len(set(parts)) < 3:
        said, remedy = "a curve needs three parts", f"use {TYPED}"
        raise InputError(said, where="--parts", value=", ".join(f"{part:g}" for part in parts), remedy=remedy)
    if config.dataset.part < 1:
        said, remedy = "a curve takes parts by itself", "leave it out: the parts are of all rows"
        raise InputError(said, where="dataset.part", value=f"{config.dataset.part:g}", remedy=remedy)


def check_swept(config: RunConfig, identities: Sequence[str] = (), what: str = SWEEP) -> None:
    """Raises InputError if nothing chooses among trials, or two of them would be one training.

    Args:
        what: of which the trials are.
    """
    dataset = config.dataset
    if not (dataset.dev or dataset.dev_share or dataset.volume):
        remedy = "give dataset.dev, or --set dataset.dev_share=0.05"
        said = f"a {what} {'chooses by' if what == SWEEP else 'is drawn through'} dev rows, and there are none"
        raise InputError(said, where="dataset.dev", remedy=remedy)
    if len(set(identities)) < len(identities):
        said, remedy = "two trials are the same training", "leave out values that come to the same"
        raise InputError(said, where="--grid", value=f"{len(identities)} trials", remedy=remedy)


def check_identity(identity: str) -> None:
    """Raises InputError if no training can be called so."""
    if not re.fullmatch(r"[0-9a-f]{16,64}", identity):
        remedy = "sft status lists them: at least the first 16 digits"
        raise InputError("no finished training of that identity", value=identity, remedy=remedy)


def check_answer(because: str, refuse: bool, force: bool) -> None:
    """Raises InputError if that is no answer to whether a training goes into service."""
    if refuse and force:
        remedy = "leave one of them out"
        raise InputError("a model is put into service or refused, not both", value="--refuse --force", remedy=remedy)
    if refuse and not because.strip():
        raise InputError("whoever trains next wants to know why", value="--refuse", remedy="say it: --because WHY")
    if len(because) > REASON:
        raise InputError(f"a reason has at most {REASON} characters", value=str(len(because)), remedy="say less")


def check_repository(repo: str) -> None:
    """Raises InputError if no repository of the Hub can be called so."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise InputError("a repository has an owner and a name", value=repo, remedy="use owner/name")


def check_published(repo: str, model: str) -> None:
    """Raises InputError if no repository can be called so, or no training: both at once."""
    check_all(lambda: check_repository(repo), lambda: check_identity(model) if model != "champion" else None)


def check_wheel(path: Path) -> None:
    """Raises InputError if there is no such file, or it is none of the wheels that the engines need."""

    def there() -> None:
        if not path.is_file():
            raise InputError("no such file", where=str(path), remedy="give the path of the wheel")

    def known() -> None:
        if path.name not in KNOWN_WHEELS:
            said = "not a wheel that an engine needs"
            raise InputError(said, where="file name", value=path.name, remedy=f"use {' or '.join(KNOWN_WHEELS)}")

    check_all(there, known)


def check_dataset(train: Path, held_out: Path, dev: Path | None = None) -> None:
    """Raises DatasetError if a file is missing, empty or of no known format, or two are one: all of it at once."""
    files = (train, held_out) if dev is None else (train, held_out, dev)
    check_all(*(partial(detect_file, file) for file in files), lambda: DatasetFiles.of(train, held_out, dev))


def check_name(name: str) -> None:
    """Raises InputError if no dataset can be called so; an empty name is none."""
    if name and not re.fullmatch(NAME, name):
        remedy = "a-z, 0-9 and -, at most 30, such as --as receipts"
        raise InputError("no dataset can be called so", where="--as", value=name, remedy=remedy)


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


def check_backend(config: RunConfig) -> None:
    """Raises InputError if ``evaluate.backend`` names what is not installed here, where the models are read here."""
    backend = config.evaluate.backend
    if config.compute == "local" and (why := unavailable(backend)):
        remedy = f"{why.partition(': ')[2]}, or leave evaluate.backend out"
        raise InputError(
            "what is to read the rows is not installed here", where="evaluate.backend", value=backend, remedy=remedy
        )


def check_tokenizer(folder: Path) -> None:
    """Raises InputError if a folder has no tokenizer to count tokens with."""
    if not (folder / "tokenizer.json").is_file():
        remedy = "give the base model's folder, or leave --model out: tokens are then estimated"
        raise InputError("no tokenizer.json in the folder", where="--model", value=str(folder), remedy=remedy)


def check_here(config: RunConfig) -> None:
    """Look at what of a run lies on this machine: files of rows, folders to write to, what reads.

    Raises:
        DatasetError, InputError: see :func:`check_first`. All of it at once.
    """
    check_all(
        lambda: _check_rows(config.dataset),
        lambda: _check_more(config.dataset),
        lambda: check_folder(Path(config.output.folder)),
        lambda: check_folder(state_folder()),
        lambda: check_backend(config),
    )


def check_first(config: RunConfig) -> None:
    """Look at what a run needs that can be seen from here.

    Raises:
        DatasetError: a dataset file is missing, empty or of no known format.
        InputError: nothing can be written to ``output.folder``, or to the state's folder; ``evaluate.backend`` is not
            installed; ``train.resume`` names a checkpoint that no training has; the Hub has no such base model. All of
            these at once.
        ComputeError, TransientError: there is no token, or no way to Modal.
    """
    check_here(config)
    compute = compute_for(config)  # there is a token, and a way to Modal
    if config.dataset.volume:
        read_stored(config.dataset.volume, compute)
    resumed = config.train.resume if config.train.resume.startswith("checkpoint-") else ""
    check_all(
        lambda: _check_checkpoint(compute, resumed) if resumed else None,
        lambda: check_base_model(config, compute),
    )


def check_hosted(config: RunConfig, *, detach: bool = False) -> None:
    """Raises InputError if the run cannot be hosted at Modal, or is asked for what it is then anyway: both at once."""

    def there() -> None:
        if config.compute == "local":
            remedy = "add --set compute=modal"
            raise InputError(
                "only a run that computes at Modal is hosted there", where="compute", value="local", remedy=remedy
            )

    def alone() -> None:
        if detach:
            remedy = "leave --detach out"
            raise InputError(
                "a hosted run is left to itself, and evaluated and promoted", where="--detach", remedy=remedy
            )

    def whole() -> None:
        if here := config.dataset.scattered:
            remedy = "sft upload TRAIN HELD_OUT puts them on the data volume: name them volume://datasets/…/FILE.jsonl"
            said = "a hosted run finds all of a dataset elsewhere, or is given all of it from here"
            raise InputError(said, where=", ".join(here), remedy=remedy)

    check_all(there, alone, whole)


def check_night(config: RunConfig) -> None:
    """Raises InputError if nobody could host the nights of a profile: they find no files of this machine."""

    def rows() -> None:
        if not config.dataset.volume and not config.dataset.placed:
            remedy = "sft upload TRAIN HELD_OUT --as pages puts them there: --set dataset.volume=named/pages"
            raise InputError(
                "a night at Modal finds its rows on the data volume alone", where="dataset.volume", remedy=remedy
            )

    check_all(lambda: check_hosted(config), rows)


def _check_more(dataset: DatasetConfig) -> None:
    """Raises DatasetError if a guard set, or one that is mixed in, is missing, empty or of no known format: all of them
    at once.
    """
    mixed = dataset.mix.values() if dataset.digits is not None else ()  # else they are looked at with the others
    named = [*dataset.guard.values(), *(further.path for further in mixed)]
    if dataset.placed:
        named += [given for given in dataset.apart.values() if given not in named]
    check_all(*(partial(detect_file, Path(path).expanduser()) for path in named if not kind_of(path)))


def _check_rows(dataset: DatasetConfig) -> None:
    if dataset.digits is not None or dataset.volume or dataset.placed:
        return
    files = DatasetFiles.named(dataset.alone())
    check_all(*(partial(detect_file, file) for file in files.every.values()))


def _check_checkpoint(compute: Compute, name: str) -> None:
    """Raises InputError if no training has a checkpoint of that name, whatever the run's identity turns out to be."""
    known: set[str] = set()
    for file in compute.list("outputs", RUNS):
        known |= {part for part in file.path.split("/") if re.fullmatch(r"checkpoint-\d+", part)}
    if name not in known:
        newest = sorted(known, key=lambda name: int(name.rpartition("-")[2]))[-SHOWN:]
        remedy = f"there are: {', '.join(newest) or 'none'}"
        raise InputError("no training has such a checkpoint", where="train.resume", value=name, remedy=remedy)
