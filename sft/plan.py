"""What a run is: its identity, and the arguments of its jobs, from configuration, dataset and base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sft import metrics
from sft.config import RunConfig
from sft.dataset import mixing, pictures
from sft.dataset.files import DatasetFiles
from sft.dataset.findings import Report, SplitStats
from sft.dataset.packing import Amount, packs
from sft.engines import ENGINES
from sft.engines.base import TrainSpec
from sft.jobs.check_export import CheckExportArgs
from sft.jobs.download_model import DownloadModelArgs
from sft.jobs.download_wheel import DownloadWheelArgs
from sft.jobs.evaluate import EvaluateArgs, Guard
from sft.jobs.placed_rows import DatasetPlace, MixedPlace, RowsPlace
from sft.jobs.promote import PromoteArgs
from sft.jobs.read_dev import ReadDevArgs
from sft.jobs.train import TrainArgs
from sft.store import records
from sft.store.champions import Champion
from sft.store.contents import Base
from sft.training import memory
from sft.training.wheels import wheel


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
        cards=config.gpus,
    )


def settings(config: RunConfig) -> str:
    """Fingerprint of all in a configuration that changes what a run on the same data comes to."""
    parts = {"base_model", "train", "evaluate", "promote", "engine"}
    version = [ENGINES[config.engine].version, metrics.VERSION]
    values = config.model_dump(mode="json", include=parts)
    del values["promote"]["wait"]
    return records.fingerprint([values, version])[:16]


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


def dataset_place(
    files: DatasetFiles, report: Report, root: str, dev_share: float = 0.0, shares: Mapping[str, float] | None = None
) -> DatasetPlace:
    """The dataset as a job finds it below ``root``.

    Args:
        dev_share: of the training set's documents that choose instead of being trained on.
        shares: of the sets that are mixed in, of all rows that are trained on.
    """
    mix = {
        name: MixedPlace(
            file=files.mix[name].relative_to(files.root).as_posix(), format=report.mix[name].format, share=share
        )
        for name, share in (shares or {}).items()
    }
    odd = [stats.odd for stats in (report.train, *report.mix.values())]
    dev = files.dev.relative_to(files.root).as_posix() if files.dev is not None else ""
    return DatasetPlace(
        dev=dev,
        dev_format=report.dev.format if report.dev is not None else "erniekit",
        dev_share=dev_share,
        mix=mix,
        root=root,
        train=files.train.relative_to(files.root).as_posix(),
        held_out=files.held_out.relative_to(files.root).as_posix(),
        train_format=report.train.format,
        held_out_format=report.held_out.format,
        fingerprint=report.fingerprint,
        odd=sum(odd),
    )


def dataset_of(config: RunConfig, files: DatasetFiles, report: Report, root: str) -> tuple[DatasetPlace, Amount]:
    """(the dataset as a job finds it below ``root``, what is trained on)."""
    share = 0.0 if files.dev is not None else config.dataset.dev_share
    shares = {name: mixed.share for name, mixed in config.dataset.mix.items()}
    amount = report.train.amount.part((1 - share) * config.dataset.part)
    for name, count in mixing.counts(amount.rows, shares).items():
        amount = amount.and_(report.mix[name].amount.part(count / max(1, report.mix[name].rows)))
    place = dataset_place(files, report, root, share, shares)
    return place.model_copy(update={"part": config.dataset.part}), amount


def train_args(
    config: RunConfig, place: DatasetPlace, amount: Amount, base: Base, start: Champion | None = None
) -> TrainArgs:
    """Arguments of the job train, with the run's identity.

    Args:
        base: the base model's record.
        start: the champion whose model is trained on, instead of the base.
    """
    spec, engine = train_spec(config, amount), ENGINES[config.engine]
    parts: dict[str, Any] = {
        "dataset": place.fingerprint,
        "base_model": start.model_identity if start else base["identity"],
        "engine": [engine.name, engine.version],
        "spec": spec.identity(),
    }
    parts |= {"pictures": pictures.VERSION} if place.odd else {}
    parts |= {"mix": {name: mixed.share for name, mixed in place.mix.items()}} if place.mix else {}
    parts |= {"part": place.part} if place.part < 1 else {}
    parts |= {"dev_share": place.dev_share} if place.dev_share else {}
    parts |= {"patience": config.train.patience} if config.train.patience and place.has_dev else {}
    parts |= {"devices": spec.devices} if spec.devices > 1 and not engine.deals_alike else {}
    identity = records.fingerprint(parts)
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


def evaluate_args(
    config: RunConfig, training: TrainArgs, champion: str = "", guards: Mapping[str, Guard] | None = None
) -> EvaluateArgs:
    """Arguments of the job evaluate.

    Args:
        champion: the training that the candidate has to beat, or empty.
        guards: sets that no training may unlearn.
    """
    return EvaluateArgs(
        identity=training.identity,
        champion=champion,
        guards=dict(guards or {}),
        base_model=training.base_model,
        dataset=training.dataset,
        device="cpu" if config.on_cpu else "gpu",
        gpu=config.reads_on,
        prompts=config.dataset.prompts,
        **config.evaluate.model_dump(exclude={"shards", "dev_rows"}),
    )


def dev_rows(place: DatasetPlace) -> RowsPlace:
    """The dev rows of a dataset: a file, or a share of the training set's documents."""
    if place.dev:
        return RowsPlace(root=place.root, file=place.dev, format=place.dev_format)
    return RowsPlace(root=place.root, file=place.train, format=place.train_format, dev_share=place.dev_share)


def read_dev_args(
    config: RunConfig, training: TrainArgs, step: int, *, within: float = 0.0, final: bool = False
) -> ReadDevArgs:
    """Arguments of the job read_dev.

    Args:
        within: how long the checkpoint of ``step`` may read (s); 0: no bound.
        final: it is the model of the finished training.
    """
    how = config.evaluate.model_dump(include={"batch_size", "max_new_tokens", "normalise"})
    return ReadDevArgs(
        identity=training.identity,
        step=step,
        final=final,
        rows=dev_rows(training.dataset),
        metric=config.promote.metric,
        within=within,
        device="cpu" if config.on_cpu else "gpu",
        gpu=config.reads_on,
        prompts=config.dataset.prompts,
        max_rows=config.evaluate.dev_rows,
        **how,
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
        ask=config.promote.mode == "ask",
    )
