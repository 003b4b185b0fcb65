"""Step train: one training per identity, followed live; a finished one is never paid for twice."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import create_image_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from compute.base import Compute
from compute.records import read_json
from sft.jobs.train import TrainArgs
from sft.report import loss_curve
from tasks.following import DELAYS, RETRIES, is_transient, run_job
from tasks.telling import pass_on, tell

LOGGED = 10.0  # seconds between two progress lines in the flow run's log


@task(
    name="train",
    description="Fine-tune, or attach to the training that runs, or return the one that has finished",
    cache_policy=NO_CACHE,  # what has been done is asked of the volumes
    retry_condition_fn=is_transient,
    retries=RETRIES,
    retry_delay_seconds=DELAYS,
)
def train(args: TrainArgs, compute: Compute) -> dict[str, Any]:
    """The training's record (see :func:`sft.jobs.train.train`).

    Raises:
        TrainingFailed: the trainer ended with an error.
        JobDied: the job's process was killed.
        JobCancelled: the run was cancelled; the job was stopped.
    """
    known = finished_training(compute, args.identity)
    if known is not None:
        tell(f"training {args.identity[:16]} has finished before ({known['steps']} steps); nothing is trained")
        _show_curve(compute, args.identity)
        return {**known, "reused": True}
    progress = _Progress(args)
    record = run_job(compute, f"train-{args.identity[:16]}", "train", args.model_dump(), progress.hear)
    progress.end()
    _show_curve(compute, args.identity)
    loss = f", last loss {record['loss']:.3f}" if record["loss"] is not None else ""
    tell(f"trained {record['steps']} steps in {record['seconds']:.0f} s{loss}")
    return {**record, "reused": False}


def finished_training(compute: Compute, identity: str) -> dict[str, Any] | None:
    """The record of a finished training, or None."""
    return read_json(compute, "outputs", f"runs/{identity[:16]}/record.json")


class _Progress:
    """Hears the job's events: keeps a progress artifact and says how it goes every ten seconds."""

    def __init__(self, args: TrainArgs) -> None:
        self.steps = args.spec.max_steps
        self.said = 0.0
        description = f"Training {args.name}: {self.steps} steps with {args.engine}"
        artifact = create_progress_artifact(0.0, key="training-progress", description=description)
        assert isinstance(artifact, UUID)
        self.artifact = artifact

    def hear(self, event: dict[str, Any]) -> None:
        pass_on({**event, "steps": self.steps})
        if event["event"] == "resume":
            tell(f"resuming from {event['checkpoint']}")
        elif event["event"] == "checkpoint":
            tell(f"checkpoint-{event['step']} is complete and verified")
        elif event["event"] == "progress" and time.monotonic() - self.said > LOGGED:
            self.said = time.monotonic()
            left = (self.steps - event["step"]) / max(event["rate"], 1e-9)
            update_progress_artifact(self.artifact, 100 * event["step"] / self.steps)
            tell(
                f"step {event['step']}/{self.steps}, loss {event['loss']:.3f}, learning rate "
                f"{event['learning_rate']:.2e}, {event['rate']:.1f} steps/s, {left:.0f} s left"
            )

    def end(self) -> None:
        update_progress_artifact(self.artifact, 100.0)


def _show_curve(compute: Compute, identity: str) -> None:
    content = compute.read("outputs", f"runs/{identity[:16]}/metrics.jsonl") or b""
    points = [json.loads(line) for line in content.splitlines()]
    if points:
        svg = base64.b64encode(loss_curve(points).encode()).decode()
        create_image_artifact(f"data:image/svg+xml;base64,{svg}", key="loss-curve", description="Training loss")
