"""What a run would do: the table of ``sft plan``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from compute.base import Compute
from compute.select import compute_for
from runs.calls import running_call, training_key
from runs.dataset import dataset_files, digits_folder, limits_for
from runs.estimate import UNKNOWN, estimate
from runs.fetched import known_base_model, known_wheel
from runs.prices import prices_for
from runs.results import finished_training, read_stored, to_beat
from runs.rows import planned_guards
from runs.step_costs import WAIT, StepCosts, in_words
from runs.usage import month_so_far
from sft.config import RunConfig
from sft.dataset.dropped import check_enlarged
from sft.dataset.elsewhere import kind_of
from sft.dataset.files import DatasetFiles
from sft.dataset.packing import Amount
from sft.dataset.room import check_room
from sft.dataset.validate import validate
from sft.engines import ENGINES
from sft.engines.base import TrainSpec
from sft.jobs.placed_rows import DatasetPlace
from sft.plan import (
    dataset_of,
    download_args,
    evaluate_args,
    memory_warning,
    passes,
    train_args,
    train_spec,
    wheel_args,
)
from sft.store import records
from sft.store.contents import Base, Training
from sft.store.volumes import run_place
from sft.training.wheels import WHEELS

LATER = "known once the step before has run"


def plan_table(config: RunConfig) -> Table:
    """Each step with what it would do. The dataset is validated for it.

    Raises:
        DatasetError: the dataset is broken.
    """
    compute = compute_for(config)
    table = Table(
        "step", "what it does", "identity", "state", "takes at most", title=f"sft run {config.profile or config.name}"
    )
    if config.dataset.volume:
        place, amount = read_stored(config.dataset.volume, compute, config.dataset.dev_share, config.dataset.part)
        told = f"{amount.rows} training rows on the data volume"
        table.add_row("validate-dataset", told, place.fingerprint[:16], "done")
        _add_rest(table, config, compute, place, amount, config.evaluate.max_rows)
        return table
    elsewhere = config.dataset.placed or config.dataset.apart
    files = None if elsewhere else _planned_files(config)
    if files is None:
        told = "composes the smoke dataset, then validates it"
        if elsewhere:
            named = config.dataset.train if config.dataset.placed else ", ".join(config.dataset.apart)
            told = f"reads {named} where it lies, by {config.dataset.containers} calls"
            table.caption = "how many steps it is follows from the rows, which the first step reads"
        table.add_row("validate-dataset", told, LATER, "to do")
        rows = config.dataset.digits.train_rows if config.dataset.digits else 0
        steps = train_spec(config, Amount(max(1, rows))).max_steps
        for name in ("ensure-wheel", "ensure-base-model", "train", "sync-checkpoint", "evaluate"):
            table.add_row(name, f"{steps} steps" if name == "train" and rows else "", LATER, "to do")
        return table
    limits = limits_for(config, compute)
    report = validate(files.train, files.held_out, config.dataset, limits, dev=files.dev, mix=files.mix)
    report.check()
    check_enlarged(report.train, config.train.dropped_rows)
    check_room(files.held_out, report.held_out.format, limits, config.evaluate.max_new_tokens)
    told = f"{report.train.rows} + {report.held_out.rows} rows, {sum(stats.images for stats in report.splits)} images"
    table.add_row("validate-dataset", told, report.fingerprint[:16], "done each time")
    place, amount = dataset_of(config, files, report, compute.dataset_root(files.root, report.fingerprint))
    uploaded = compute.name == "local" or compute.read("data", f"{place.root}/record.json") is not None
    table.add_row("upload-data", place.root, report.fingerprint[:16], "done" if uploaded else "to do")
    if warning := memory_warning(config, report.train):
        table.caption = f"warning {warning}"
    read = min(report.held_out.rows, config.evaluate.max_rows)
    _add_rest(table, config, compute, place, amount, read)
    return table


def _add_rest(
    table: Table, config: RunConfig, compute: Compute, place: DatasetPlace, amount: Amount, rows: int
) -> None:
    """The steps behind the dataset's; ``rows`` are read by each model."""
    if config.on_cpu:
        table.add_row("ensure-wheel", "the training runs on a CPU", "", "skipped")
    elif config.engine not in WHEELS:
        table.add_row("ensure-wheel", f"engine {config.engine} installs none", "", "skipped")
    else:
        path = wheel_args(config).path
        table.add_row("ensure-wheel", path, "", "done" if known_wheel(compute, path) else "to do")
    name = download_args(config).folder
    base = known_base_model(compute, name)
    size = f"{sum(f['size'] for f in base['files'].values()) / 1e6:.0f} MB" if base else "size unknown"
    table.add_row(
        "ensure-base-model",
        f"{name} ({size}; PaddleOCR-VL-{config.family.name})",
        base["identity"][:16] if base else LATER,
        _state(base),
    )
    costs = StepCosts(config, compute)
    _add_training(table, config, compute, base, place, amount, costs, rows)
    waits = costs.wait(_waiting(config, place) if costs.steps else 0)
    if waits.seconds:
        told = f"each GPU container waits {WAIT:.0f} s for another call, before Modal ends it"
        table.add_row("", told, "", "", waits.told(config.budget.currency))
    said = in_words(costs, config.budget.currency)
    table.caption = f"{table.caption}\n{said}" if table.caption else said


def _planned_files(config: RunConfig) -> DatasetFiles | None:
    """The dataset's files, without composing the smoke dataset."""
    digits = config.dataset.digits
    if digits is not None and records.read_record(digits_folder(digits)) is None:
        return None
    return dataset_files(config)


def _add_training(
    table: Table,
    config: RunConfig,
    compute: Compute,
    base: Base | None,
    place: DatasetPlace,
    amount: Amount,
    costs: StepCosts,
    rows: int,
) -> None:
    spec, currency = train_spec(config, amount), config.budget.currency
    told = (
        f"{spec.max_steps} steps of {_step(config, spec, amount)} with {config.engine}, "
        f"warm-up {spec.warmup_steps}, on {_trained_on(config)}"
    )
    if base is None:
        table.add_row("train", told, LATER, "to do", costs.train(spec.max_steps).told(currency))
        _add_choice(table, config, place, None, costs, spec)
        table.add_row("sync-checkpoint", f"to {config.output.folder}", "", "to do")
        _add_judging(table, config, costs, ("base", "candidate"), rows, LATER, None)
        return
    args = train_args(config, place, amount, base)
    told += f"; {cost_estimate(config, compute, spec.max_steps)}"
    training = finished_training(compute, args.identity)
    takes = "" if training else costs.train(spec.max_steps).told(currency)
    running = running_call(compute, training_key(args.identity))
    table.add_row("train", told, args.identity[:16], f"running ({running})" if running else _state(training), takes)
    _add_choice(table, config, place, training, costs, spec)
    folder = Path(config.output.folder) / f"{config.name}-{args.identity[:8]}"
    table.add_row("sync-checkpoint", f"to {folder}", "", "copies what is missing")
    champion = to_beat(compute, config.name, args.identity)
    evaluation = evaluate_args(config, args, champion, guards=planned_guards(config, compute))
    known = training and not any(map(kind_of, config.dataset.guard.values()))  # a run alone looks at guards elsewhere
    key = evaluation.key(training["model_identity"]) if training and known else ""
    done = compute.read("outputs", f"{run_place(args.identity)}/evaluation/{key}/record.json") if key else None
    models = ("base", "champion", "candidate") if champion else ("base", "candidate")
    _add_judging(table, config, costs, models, rows, key or LATER, done)


def _trained_on(config: RunConfig) -> str:
    """Example: ``A100-80GB:4, 2 of a step's 8 forward passes on each``."""
    if config.compute == "modal":
        told = config.modal.gpu
    elif config.device == "cpu":
        told = "the CPU"
    else:
        told = "this machine's GPU" if config.gpus == 1 else f"{config.gpus} GPUs of this machine"
    passes = config.train.gradient_accumulation_steps
    shared = f", {passes // config.gpus} of a step's {passes} forward passes on each"
    return told + (shared if config.gpus > 1 else "")


def _add_judging(
    table: Table, config: RunConfig, costs: StepCosts, models: Sequence[str], rows: int, key: str, done: Any
) -> None:
    """The models read the held-out rows; the candidate's export is checked where somebody may promote it."""
    told = f"{' and '.join(models) if len(models) == 2 else ', '.join(models)} read at most {rows} rows each"
    currency = config.budget.currency
    table.add_row("evaluate", told, key, _state(done), "" if done else costs.read(len(models), rows).told(currency))
    if config.promote.mode != "never" and not done:
        told = f"the saved model is loaded again and reads {config.promote.check_rows} rows"
        table.add_row("check-export", told, LATER, "", costs.check().told(currency))


def _waiting(config: RunConfig, place: DatasetPlace) -> int:
    """GPU containers that stay behind their call: those that read, for they may be used again."""
    return 0 if config.on_cpu else config.evaluate.shards + (1 if place.has_dev else 0)


def _add_choice(
    table: Table,
    config: RunConfig,
    place: DatasetPlace,
    training: Training | None,
    costs: StepCosts,
    spec: TrainSpec,
) -> None:
    """The step choose, where there are dev rows."""
    if not place.has_dev:
        return
    told = f"each checkpoint reads at most {config.evaluate.dev_rows} dev rows; the best by {config.promote.metric}"
    told += f", ends after {config.train.patience} that are no better" if config.train.patience else ""
    chosen = training.get("chosen") if training else None
    checkpoints = max(1, -(-spec.max_steps // spec.save_steps))
    takes = "" if chosen else costs.choose(checkpoints).told(config.budget.currency)
    table.add_row("choose", told, f"checkpoint-{chosen['step']}" if chosen else LATER, _state(chosen), takes)


def _step(config: RunConfig, spec: TrainSpec, amount: Amount) -> str:
    """What a step holds: rows, or packs where the engine packs them."""
    if not ENGINES[config.engine].packs:
        return f"{spec.batch_size} × {spec.gradient_accumulation_steps} rows"
    rows = amount.rows / max(passes(config, amount), 1e-9)
    return f"{spec.gradient_accumulation_steps} packs of about {rows:.1f} rows (at most {spec.batch_size})"


def cost_estimate(config: RunConfig, compute: Compute, steps: int) -> str:
    """Hours and cost of ``steps`` steps, by the newest training of the ledger with this engine on this GPU; and how
    much of the month's bound is used.
    """
    found = estimate(config, compute, steps)
    return (found.told(config) if found else UNKNOWN) + month_told(config, compute)


def month_told(config: RunConfig, compute: Compute) -> str:
    """How much of the month's bound is used; empty where there is none."""
    bound = config.budget.max_cost_per_month
    if bound is None:
        return ""
    spent = month_so_far(prices_for(config, compute), compute)[1]
    return f"; this month {spent:.2f} of {bound:g} {config.budget.currency}"


def _state(record: Any) -> str:
    return "done" if record else "to do"
