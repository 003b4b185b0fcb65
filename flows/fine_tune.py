"""The flow ``sft``: from a dataset on disk to an evaluated model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.states import Cancelled, Completed
from pydantic import BaseModel

from compute.base import Compute
from compute.select import compute_for
from flows.presence import present, sweep
from sft.config import RunConfig
from sft.engines import ENGINES
from sft.errors import Detached, JobCancelled
from sft.jobs.train import DatasetPlace, TrainArgs
from sft.plan import dataset_place, evaluate_args, train_args
from tasks.budget import Budget, gpu
from tasks.ensure_base_model import ensure_base_model
from tasks.ensure_wheel import ensure_wheel
from tasks.evaluate import evaluate
from tasks.ledger import Entry, read_ledger, recorded
from tasks.stored_dataset import stored_dataset
from tasks.sync_checkpoint import sync_checkpoint
from tasks.train import train
from tasks.upload_data import upload_data
from tasks.validate_dataset import validate_dataset


class RunResult(BaseModel):
    """What a run came to. Scores are those of :class:`sft.metrics.Scores`; paths are local."""

    identity: str
    folder: Path
    model: Path
    report: Path
    rows: int
    base: dict[str, Any]
    tuned: dict[str, Any]
    trained: bool  # False: the same training had finished before
    copied: int  # files copied to this machine


def run_name() -> str:
    """The flow run's name in the UI: the configuration's name."""
    from prefect.runtime import flow_run

    config = flow_run.parameters["config"]
    return str(config.name if isinstance(config, RunConfig) else config.get("name", "sft"))


@flow(
    name="sft", description="Fine-tune PaddleOCR-VL on a dataset and compare it with its base", flow_run_name=run_name
)
def fine_tune(config: RunConfig) -> RunResult | State[RunResult]:
    """Validate, prepare, train, sync, evaluate. A cancelled run ends in the state Cancelled, its job stopped.

    Raises:
        SftError: the first step that fails; what was finished before it is kept and found by the next run.
    """
    sweep()
    try:
        with present():
            return steps(config)
    except JobCancelled as error:
        cancelled: State[RunResult] = Cancelled(message=str(error))
        return cancelled
    except Detached as error:
        left: State[RunResult] = Completed(name="Detached", message=str(error))
        return left


def steps(config: RunConfig) -> RunResult:
    """The steps of the flow, in order."""
    compute = compute_for(config)
    with recorded(config, compute) as entry:
        place, rows = _dataset(config, compute)
        entry.dataset = place.fingerprint
        ensure_wheel(config, compute)
        base = ensure_base_model(config, compute)
        args = train_args(config, place, rows, base)
        entry.identity, entry.base_model, entry.gpu = args.identity, args.base_model, gpu(config)
        entry.engine_version, entry.steps = ENGINES[config.engine].version, args.spec.max_steps
        budget = Budget.of(config, read_ledger(compute) if config.budget.max_cost_per_month else [])
        training = _train(config, args, compute, budget, entry)
        folder = (Path(config.output.folder) / f"{config.name}-{args.identity[:8]}").resolve()
        synced = sync_checkpoint(training, folder, compute)
        evaluation = evaluate(evaluate_args(config, args), training, folder, compute, config.evaluate.shards)
        entry.rows = evaluation["rows"]
        entry.metrics = {model: evaluation[model]["all"] for model in ("base", "tuned")}
    return RunResult(
        identity=args.identity,
        folder=folder,
        model=folder / "model",
        report=folder / "report.html",
        rows=evaluation["rows"],
        base=evaluation["base"]["all"],
        tuned=evaluation["tuned"]["all"],
        trained=not training["reused"],
        copied=synced.copied,
    )


def _dataset(config: RunConfig, compute: Compute) -> tuple[DatasetPlace, int]:
    """Where the jobs find the rows, and how many are trained on."""
    if config.dataset.volume:
        return stored_dataset(config.dataset.volume, compute)
    files, report = validate_dataset(config)
    upload_data(files, report, compute)
    root = compute.dataset_root(files.root, report.fingerprint)
    return dataset_place(files, report, root), report.train.rows


def _train(config: RunConfig, args: TrainArgs, compute: Compute, budget: Budget, entry: Entry) -> dict[str, Any]:
    """The training, with what it cost in the ledger's entry, whatever became of it."""
    before = time.time()
    try:
        training: dict[str, Any] = train(args, compute, budget, config.train.restarts)
    except BaseException:
        entry.training_seconds = time.time() - before
        entry.cost = budget.cost(entry.training_seconds)
        raise
    if "detached" in training:
        raise Detached("the job runs on; nobody waits for it here", value=training["detached"])
    entry.trained = not training["reused"]
    entry.training_seconds = time.time() - before if entry.trained else 0.0
    entry.cost = budget.cost(entry.training_seconds)
    return training
