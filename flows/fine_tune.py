"""The flow ``sft``: from a dataset on disk to an evaluated model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.states import Cancelled
from pydantic import BaseModel

from compute.select import compute_for
from sft.config import RunConfig
from sft.errors import JobCancelled
from sft.plan import dataset_place, evaluate_args, train_args
from tasks.ensure_base_model import ensure_base_model
from tasks.ensure_wheel import ensure_wheel
from tasks.evaluate import evaluate
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
    try:
        return steps(config)
    except JobCancelled as error:
        cancelled: State[RunResult] = Cancelled(message=str(error))
        return cancelled


def steps(config: RunConfig) -> RunResult:
    """The steps of the flow, in order."""
    compute = compute_for(config)
    if config.dataset.volume:
        place, rows = stored_dataset(config.dataset.volume, compute)
    else:
        files, report = validate_dataset(config)
        upload_data(files, report, compute)
        place, rows = (
            dataset_place(files, report, compute.dataset_root(files.root, report.fingerprint)),
            report.train.rows,
        )
    ensure_wheel(config, compute)
    base = ensure_base_model(config, compute)
    args = train_args(config, place, rows, base)
    training = train(args, compute)
    folder = (Path(config.output.folder) / f"{config.name}-{args.identity[:8]}").resolve()
    synced = sync_checkpoint(training, folder, compute)
    evaluation = evaluate(evaluate_args(config, args), training, folder, compute, config.evaluate.shards)
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
