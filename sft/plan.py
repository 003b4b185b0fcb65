"""What a run is: its identity, and the arguments of its jobs, from configuration, dataset and base model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sft import metrics
from sft.config import RunConfig
from sft.dataset import pictures
from sft.dataset.findings import Report, SplitStats
from sft.dataset.packing import Amount, packs
from sft.dataset.reading import image_folder
from sft.dataset.settings import DatasetConfig
from sft.engines import ENGINES
from sft.engines.base import TrainSpec
from sft.errors import DatasetError, check_all
from sft.jobs.check_export import CheckExportArgs
from sft.jobs.download_model import DownloadModelArgs
from sft.jobs.download_wheel import DownloadWheelArgs
from sft.jobs.evaluate import EvaluateArgs
from sft.jobs.predict import PredictArgs
from sft.jobs.promote import PromoteArgs
from sft.jobs.train import DatasetPlace, TrainArgs
from sft.store import records
from sft.store.champions import Champion
from sft.store.contents import Base
from sft.training import memory
from sft.training.wheels import wheel


@dataclass(frozen=True)
class DatasetFiles:
    """The two files and the folder that holds both, all absolute."""

    root: Path
    train: Path
    held_out: Path

    @classmethod
    def of(cls, train: Path, held_out: Path) -> DatasetFiles:
        """The folder is the nearest one above both files.

        Raises:
            DatasetError: the files are the same, or share no folder but the root of the disk.
        """
        # A link's own name is kept: beside it lie the images that its rows name.
        train, held_out = image_folder(train) / train.name, image_folder(held_out) / held_out.name
        if train.resolve() == held_out.resolve():
            raise DatasetError(
                "training and held-out set are one file",
                where="dataset.held_out",
                value=str(held_out),
                remedy="set rows aside that are never trained on, and name their file",
            )
        root = train.parent
        while not held_out.is_relative_to(root):
            root = root.parent
        if root == root.parent:
            raise DatasetError(
                "training and held-out set lie in different trees",
                where="dataset",
                value=f"{train}, {held_out}",
                remedy="put both below one folder",
            )
        return cls(root, train, held_out)

    @classmethod
    def named(cls, config: DatasetConfig) -> DatasetFiles:
        """The files that a configuration names; ``~`` is the home.

        Raises:
            DatasetError: one of them is missing, no file, or at an address; or as :meth:`of`.
        """
        named = {"dataset.train": config.train, "dataset.held_out": config.held_out}
        check_all(*(partial(_file, key, name) for key, name in named.items()))
        return cls.of(*(_file(key, name) for key, name in named.items()))


def _file(key: str, name: str) -> Path:
    path, correct = Path(name).expanduser(), f"correct it: --set {key}=PATH"
    if "://" in name:
        remedy = "copy the file and its images here first; what sft upload has sent is named by dataset.volume"
        raise DatasetError("a dataset file has a path, not an address", where=key, value=name, remedy=remedy)
    if path.is_dir():
        raise DatasetError("the dataset file is a folder", where=key, value=name, remedy=correct)
    if not path.is_file():
        raise DatasetError("the dataset file does not exist", where=key, value=name, remedy=correct)
    return path


def passes(config: RunConfig, amount: Amount) -> float:
    """Forward passes in which the engine sees each row once."""
    if ENGINES[config.engine].packs:
        return packs(amount, config.train.batch_size, config.train.max_seq_len)
    return amount.rows / config.train.batch_size


def train_spec(config: RunConfig, amount: Amount) -> TrainSpec:
    """The resolved hyperparameters: ``auto`` becomes numbers.

    Args:
        amount: what the training set amounts to.
    """
    return config.spec(config.train.steps(passes(config, amount)))


def memory_warning(config: RunConfig, rows: SplitStats) -> str | None:
    """What to say where the longest rows of a training set are probably too much for the card; None where they fit."""
    if config.card is None:
        return None
    spec, tokens = config.train, max(1, rows.image_tokens + rows.text_tokens)
    packed_to = spec.max_seq_len if ENGINES[config.engine].packs else None  # PaddleFormers takes whole rows

    def heaviest(size: int) -> memory.Pass:
        return memory.Pass.of(rows.tokens, size, image_share=rows.image_tokens / tokens, packed_to=packed_to)

    return memory.warning(
        config.card,
        spec.batch_size,
        heaviest,
        lora=spec.lora is not None,
        flash=spec.precision == "bf16",
        accumulation=spec.gradient_accumulation_steps,
    )


def settings(config: RunConfig) -> str:
    """Fingerprint of all in a configuration that changes what a run on the same data comes to."""
    parts = {"base_model", "train", "evaluate", "promote", "engine"}
    version = [ENGINES[config.engine].version, metrics.VERSION]
    return records.fingerprint([config.model_dump(mode="json", include=parts), version])[:16]


def download_args(config: RunConfig) -> DownloadModelArgs:
    """Arguments of the job download_model."""
    base = config.base_model
    return DownloadModelArgs(source=base.source, repo=base.repo, revision=base.revision)


def wheel_args(config: RunConfig) -> DownloadWheelArgs:
    """Arguments of the job download_wheel: the engine's wheel, or the one that the configuration names."""
    known, given = wheel(config.engine, config.wheel.build), config.wheel
    if given.url:
        return DownloadWheelArgs(path=known.path, url=given.url, size=given.size, sha256=given.sha256)
    return DownloadWheelArgs(
        path=known.path, url=known.url, size=given.size or known.size, sha256=given.sha256 or known.sha256
    )


def dataset_place(files: DatasetFiles, report: Report, root: str) -> DatasetPlace:
    """The dataset as a job finds it below ``root``."""
    return DatasetPlace(
        root=root,
        train=files.train.relative_to(files.root).as_posix(),
        held_out=files.held_out.relative_to(files.root).as_posix(),
        train_format=report.train.format,
        held_out_format=report.held_out.format,
        fingerprint=report.fingerprint,
        odd=report.train.odd,
    )


def train_args(
    config: RunConfig, place: DatasetPlace, amount: Amount, base: Base, start: Champion | None = None
) -> TrainArgs:
    """Arguments of the job train, with the run's identity.

    Args:
        base: the base model's record.
        start: the champion whose model is trained on, instead of the base.
    """
    spec, engine = train_spec(config, amount), ENGINES[config.engine]
    parts = {
        "dataset": place.fingerprint,
        "base_model": start.model_identity if start else base["identity"],
        "engine": [engine.name, engine.version],
        "spec": spec.identity(),
    }
    identity = records.fingerprint({**parts, "pictures": pictures.VERSION} if place.odd else parts)
    return TrainArgs(
        identity=identity,
        name=config.name,
        engine=config.engine,
        spec=spec,
        dataset=place,
        base_model=base["name"],
        start_from=start.identity if start else "",
        resume=config.train.resume,
        family=config.family.name,
        gpu=config.billed_as,
    )


def evaluate_args(config: RunConfig, training: TrainArgs, champion: str = "") -> EvaluateArgs:
    """Arguments of the job evaluate.

    Args:
        champion: the training that the candidate has to beat, or empty.
    """
    return EvaluateArgs(
        identity=training.identity,
        champion=champion,
        base_model=training.base_model,
        dataset=training.dataset,
        device="cpu" if config.on_cpu else "gpu",
        gpu=training.gpu,
        prompts=config.dataset.prompts,
        **config.evaluate.model_dump(exclude={"shards"}),
    )


def check_export_args(config: RunConfig, evaluation: EvaluateArgs) -> CheckExportArgs:
    """Arguments of the job check_export."""
    return CheckExportArgs(**evaluation.model_dump(), rows=config.promote.check_rows)


def promote_args(config: RunConfig, check: CheckExportArgs, model_identity: str) -> PromoteArgs:
    """Arguments of the job promote, by the gate."""
    return PromoteArgs(
        name=config.name,
        identity=check.identity,
        evaluation=check.folder(model_identity),
        export=check.check_folder(model_identity),
        over=check.champion,
        rule=config.promote.rule,
    )


def predict_args(args: EvaluateArgs, shards: int) -> list[PredictArgs]:
    """The shares into which the reading is cut; none where the evaluation reads everything itself, as vLLM cannot."""
    if shards == 1 and args.backend != "vllm":
        return []
    common = args.model_dump(exclude={"examples", "normalise"})
    return [PredictArgs(**common, which=which, shard=i, shards=shards) for which in args.models for i in range(shards)]
