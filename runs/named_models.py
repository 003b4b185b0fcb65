"""What people call a model, and where it lies: families, the champion, trainings, checkpoints, folders, repositories.

Needs no Prefect. What is not on the volumes yet is brought there by the step ensure-models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from compute.base import Compute
from compute.records import put_json, read_json
from runs.fetched import known_base_model
from runs.results import champion, finished_training
from sft.config import RunConfig
from sft.errors import InputError, IntegrityError, check_all
from sft.families import FAMILIES
from sft.jobs.download_model import DownloadModelArgs
from sft.jobs.placed import ORIGIN, Named, checkpoint_identity
from sft.models import export
from sft.models.weights import torn
from sft.plan import download_args
from sft.store import records
from sft.store.checkpoints import MANIFEST
from sft.store.contents import Base, Training
from sft.store.volumes import run_place

IDENTITY = re.compile(r"[0-9a-f]{16,64}")
CHECKPOINT = re.compile(r"([0-9a-f]{16,64})/(checkpoint-\d+)")
REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]{1,64}))?")
ARCHITECTURE = "paddleocr_vl"  # as config.json names it
NAMES = (
    f"base, champion, a family ({', '.join(FAMILIES)}), a training's identity (at least its first 16 digits; sft "
    "status lists them), IDENTITY/checkpoint-N, a model's folder, or a repository of the HF Hub (owner/name or "
    "owner/name@revision)"
)
Say = Callable[[str], None]


def check_models(models: Sequence[str]) -> None:
    """Raises InputError if a name can be no model's, a folder holds none, or one is named twice: all of it at once."""
    check_all(*(partial(_check, model) for model in models), lambda: _check_twice(models))


def _check(model: str) -> None:
    if folder_of(model) is not None:
        _check_folder(Path(model).expanduser())
    elif model not in ("base", "champion", *FAMILIES) and not any(
        pattern.fullmatch(model) for pattern in (IDENTITY, CHECKPOINT, REPOSITORY)
    ):
        raise InputError("no model is called so", value=model, remedy=f"use {NAMES}")


def _check_twice(models: Sequence[str]) -> None:
    if twice := sorted({model for model in models if models.count(model) > 1}):
        raise InputError("a model is named twice", value=", ".join(twice), remedy="name each once")


def _check_folder(folder: Path) -> None:
    """Raises InputError if a folder holds no PaddleOCR-VL that can be read with."""
    config, remedy = folder / "config.json", "give a folder as the Hub or a training has it"
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise InputError(
            "no model's folder: no config.json that can be read", where=str(folder), remedy=remedy
        ) from None
    if kind != ARCHITECTURE:
        raise InputError("the folder's model is no PaddleOCR-VL", where=str(config), value=str(kind), remedy=remedy)
    weights = sorted(folder.glob(export.WEIGHTS))
    missing = [name for name in ("tokenizer_config.json", "preprocessor_config.json") if not (folder / name).is_file()]
    missing += [] if weights else [export.WEIGHTS]
    if problems := [f"{name} is missing" for name in missing] + list(filter(None, map(torn, weights))):
        raise InputError("the folder's model is not whole", where=str(folder), value="; ".join(problems), remedy=remedy)


def folder_of(model: str) -> Path | None:
    """The folder on this machine that a name means, or None: a folder that is there goes before a repository."""
    path = Path(model).expanduser()
    marked = model.startswith((".", "/", "~"))
    return path if marked or ("/" in model and path.is_dir() and not CHECKPOINT.fullmatch(model)) else None


def download_of(config: RunConfig, model: str) -> DownloadModelArgs | None:
    """What is fetched for a model that comes from elsewhere; None for one that is on the volumes or on this machine."""
    if model == "base":
        return download_args(config)
    if model in FAMILIES:
        own, family = config.base_model, FAMILIES[model]
        if own.source == "hub" and own.repo in family.repositories:  # in the revision that the profile names
            return download_args(config)
        return DownloadModelArgs(source="hub", repo=family.repositories[0], revision="main")
    if model == "champion" or folder_of(model) or IDENTITY.fullmatch(model) or CHECKPOINT.fullmatch(model):
        return None
    match = REPOSITORY.fullmatch(model)
    if match is None:
        raise InputError("no model is called so", value=model, remedy=f"use {NAMES}")
    return DownloadModelArgs(source="hub", repo=match[1], revision=match[2] or "main")


def stored(model: str, folder: Path, compute: Compute, say: Say = lambda text: None) -> str:
    """Bring a folder of this machine to the models volume, once for each content; returns its name there.

    A job then reads what was there when it was asked for, whatever becomes of the folder.
    """
    files = records.manifest(folder.resolve())
    identity = records.manifest_hash(files)
    slug = re.sub(r"[^\w.-]+", "-", folder.resolve().name)[:40]
    name = f"local--{slug}@{identity[:16]}"
    if known_base_model(compute, name) is None:
        compute.put_all("models", [(folder.resolve() / file, f"{name}/{file}") for file in files])
        record: Base = {"name": name, "source": "folder", "identity": identity, "files": files}
        put_json(compute, "models", f"{name}/record.json", dict(record))
        say(f"{model}: {sum(entry['size'] for entry in files.values()) / 1e6:.0f} MB copied to the models volume")
    return name


def place_of(config: RunConfig, compute: Compute, model: str) -> str:
    """Where a model lies that is on the volumes: models/NAME, or a folder on the outputs volume.

    Raises:
        InputError: there is no such model.
    """
    if (download := download_of(config, model)) is not None:
        return f"models/{download.folder}"
    if model == "champion":
        now = champion(compute, config.name)
        if now is None:
            remedy = "name a training (sft status lists them) or base; sft run promotes what is better than its base"
            raise InputError("there is no champion yet", value=config.name, remedy=remedy)
        return f"outputs/{run_place(now.identity)}/model"
    if match := CHECKPOINT.fullmatch(model):
        for kept in ("trainer", "best", "dev"):  # the trainer keeps its newest, we the best beside them
            if compute.list("outputs", f"{run_place(match[1])}/{kept}/{match[2]}"):
                return f"outputs/{run_place(match[1])}/{kept}/{match[2]}"
        raise InputError("no such checkpoint", value=model, remedy="sft status lists the trainings")
    if finished_training(compute, model) is None:
        raise InputError("no finished training of that identity", value=model, remedy="sft status lists them")
    return f"outputs/{run_place(model)}/model"


def check_there(config: RunConfig, compute: Compute, models: Sequence[str]) -> None:
    """Raises InputError if models that should be on the volumes are not: all at once, before anything is fetched."""
    on_volumes = [model for model in models if folder_of(model) is None and download_of(config, model) is None]
    check_all(*(partial(place_of, config, compute, model) for model in on_volumes))


def identified(compute: Compute, model: Named) -> str:
    """What identifies a model on the volumes, as its record says (see :func:`sft.jobs.placed.identity`).

    Raises:
        IntegrityError: it has no record, or is an unfinished checkpoint.
    """
    volume, _, place = model.place.partition("/")
    found: str | None = None
    if volume == "models":
        base = cast("Base | None", read_json(compute, "models", f"{place}/record.json"))
        found = base["identity"] if base else None
    elif place.rpartition("/")[2].startswith("checkpoint-"):
        run = place.rsplit("/", 2)[0]
        manifest = read_json(compute, "outputs", f"{place}/{MANIFEST}")
        origin = read_json(compute, "outputs", f"{run}/{ORIGIN}") or read_json(compute, "outputs", f"{run}/record.json")
        found = checkpoint_identity(manifest, origin or {}) if manifest else None
    else:
        record = read_json(compute, "outputs", f"{place.rpartition('/')[0]}/record.json")
        training = cast("Training | None", record)
        found = training["model_identity"] if training else None
    if not found:
        remedy = "take one that is finished: sft status lists them"
        raise IntegrityError(f"{model.label} is not finished", where=model.place, remedy=remedy)
    return found
