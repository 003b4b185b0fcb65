"""Step train: one training per identity, followed live; a finished one is never paid for twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from compute.base import Compute
from runs.budget import Budget
from runs.calls import started, training_key, was_cancelled
from runs.hosting import hosted
from runs.results import finished_training
from sft.dataset.dropped import describe
from sft.dataset.pictures import told
from sft.errors import BudgetExceeded, Detached, JobCancelled, JobDied, PatienceEnded
from sft.jobs.train import TrainArgs
from sft.report import loss_curve
from sft.store.appended import entries
from sft.store.contents import LeftOut, Training
from sft.store.volumes import run_place
from tasks.events import emit
from tasks.following import RESUME, run_job
from tasks.picturing import show_picture
from tasks.slots import slot
from tasks.step import step
from tasks.telling import pass_on, tell

CHECKED = 2.0  # seconds between two looks at the budget
NEAR = 0.8  # share of the month's bound from which it is told
LOGGED = 10.0  # seconds between two progress lines in the flow run's log


@dataclass(frozen=True)
class Trained:
    """A finished training's record (see :func:`sft.jobs.train.train`); was it finished before?"""

    record: Training
    reused: bool


@dataclass(frozen=True)
class Left:
    """The call of a training that runs on; nobody waits for it here."""

    call_id: str


class Companion(Protocol):
    """Somebody who works beside a training."""

    def hear(self, event: dict[str, Any]) -> None:
        """An event of the training."""
        ...

    def look(self) -> None:
        """It is time to look at one's own work.

        Raises:
            PatienceEnded: the training is to end with what it has.
        """
        ...

    def stop(self) -> None:
        """The training was stopped by a person, or by the budget."""
        ...


@step("train", "Fine-tune, or attach to the training that runs, or return the one that has finished")
def train(
    args: TrainArgs,
    compute: Compute,
    budget: Budget | None = None,
    restarts: int = 0,
    beside: Callable[[], Companion] | None = None,
    limit: str = "",
) -> Trained | Left:
    """The training, or what runs on where the run was asked not to wait.

    Args:
        limit: Prefect's global concurrency limit of which a slot is held while it trains.
        restarts: how often a training that died or ran into its time limit resumes by itself.
        beside: makes who works beside it.
    Raises:
        TrainingFailed: the trainer ended with an error.
        JobDied: the job's process was killed, more often than ``restarts``, or twice without a checkpoint between.
        JobCancelled: the run was cancelled; the job was stopped.
        BudgetExceeded: a bound of the budget was reached; the job was stopped.
    """
    known = finished_training(compute, args.identity)
    if known is not None:
        tell(f"training {args.identity[:16]} has finished before ({known['steps']} steps); nothing is trained")
        show_curve(compute, args.identity)
        return Trained(known, reused=True)
    key = training_key(args.identity)
    since = run.replaced_since if (run := hosted()) is not None else None
    if since is not None and was_cancelled(compute, key, since):
        raise JobCancelled("the training was cancelled while the run changed its container", remedy=RESUME)
    progress = _Progress(args, beside() if beside is not None else None)
    if budget and budget.bounded:
        progress.check = _Watch(budget, args.name, lambda: progress.before + time.time() - started(compute, key))
    try:
        with slot(limit, compute, key, args.spec.devices):
            record = _until_it_ends(args, compute, key, progress, restarts)
    except Detached as left:  # no failure of this step
        return Left(left.value)
    except (JobCancelled, BudgetExceeded):
        progress.stop()
        raise
    progress.end()
    show_curve(compute, args.identity)
    loss = f", last loss {record['loss']:.3f}" if record["loss"] is not None else ""
    tell(f"trained {record['steps']} steps in {record['seconds']:.0f} s{loss}")
    if left_out := describe(record.get("left_out")):
        tell(left_out)
    return Trained(record, reused=False)


class _Watch:
    """Looks at the budget; a month that nears its bound is told once."""

    def __init__(self, budget: Budget, name: str, seconds: Callable[[], float]) -> None:
        self._budget, self._name, self._seconds, self._told = budget, name, seconds, False

    def __call__(self) -> None:
        seconds, bound = self._seconds(), self._budget.max_cost_per_month
        spent = self._budget.month(seconds)
        if bound and spent >= NEAR * bound and not self._told:
            self._told = True
            month = time.strftime("%Y-%m")
            tell(f"the month has cost {spent:.2f} of {bound:g} {self._budget.currency}")
            facts = {"spent": round(spent, 2), "bound": bound, "currency": self._budget.currency}
            emit("sft.budget", "month", month, name=self._name, facts=facts)
        self._budget.check(seconds)


def until_it_ends(
    args: TrainArgs, compute: Compute, restarts: int, beside: Companion | None, limit: str = ""
) -> Training:
    """The training's record, once it has ended; ``beside`` works beside it and may end it.

    Args:
        limit: see :func:`train`.

    Raises:
        SftError: the training's own error, or what ``beside`` has ended it with.
    """
    progress = _Progress(args, beside)
    key = training_key(args.identity)
    try:
        with slot(limit, compute, key, args.spec.devices):
            record = _until_it_ends(args, compute, key, progress, restarts)
    except (JobCancelled, BudgetExceeded):
        progress.stop()
        raise
    progress.end()
    return record


def _until_it_ends(args: TrainArgs, compute: Compute, key: str, progress: _Progress, restarts: int) -> Training:
    """A training that died is resumed while that brings it on: not twice from the same checkpoint."""
    newest = -1
    for left in range(restarts, -1, -1):
        try:
            return cast("Training", run_job(compute, key, "train", args.model_dump(), progress.hear, long=True))
        except PatienceEnded as ended:  # it has saved a checkpoint, with which it ends now
            tell(f"the training ends early: {ended.message}")
            progress.stop()
            return cast("Training", run_job(compute, key, "train", args.model_dump(), progress.told))
        except JobDied as error:
            if was_cancelled(compute, key):
                raise JobCancelled("the training was cancelled", where=error.where, remedy=RESUME) from error
            if not left or progress.checkpoint <= newest:
                raise
            newest = progress.checkpoint
            progress.before += time.time() - started(compute, key)
            tell(f"the training died and is resumed ({left} more times at most): {error.message.splitlines()[0]}")
    raise AssertionError("unreachable")


class _Progress:
    """Hears the job's events: keeps a progress artifact and says how it goes every ten seconds.

    Attributes:
        before: how long the run's earlier calls worked, which died (s).
        check: raises where the run is to be stopped.
    """

    def __init__(self, args: TrainArgs, beside: Companion | None = None) -> None:
        self.beside = beside
        self.steps = args.spec.max_steps
        self.said = 0.0
        self.checkpoint = 0
        self.before = 0.0
        self.check: Callable[[], None] = lambda: None
        self._checked = 0.0
        description = f"Training {args.name}: {self.steps} steps with {args.engine}"
        artifact = create_progress_artifact(0.0, key="training-progress", description=description)
        assert isinstance(artifact, UUID)
        self.artifact = artifact

    def hear(self, event: dict[str, Any]) -> None:
        self.told(event)
        if self.beside is not None:
            self.beside.hear(event)
        if time.monotonic() - self._checked > CHECKED:
            self._checked = time.monotonic()
            self.check()
            if self.beside is not None:
                self.beside.look()

    def stop(self) -> None:
        if self.beside is not None:
            self.beside.stop()

    def told(self, event: dict[str, Any]) -> None:
        pass_on({**event, "steps": self.steps})
        if event["event"] == "resume":
            tell(f"resuming from {event['checkpoint']}")
        elif event["event"] == "pictures":
            tell(f"pictures are converted, so that the trainer sees them as a person does: {told(event['done'])}")
        elif event["event"] == "left-out":
            tell(f"{describe(cast('LeftOut', event))}; the training goes on")
        elif event["event"] == "checkpoint":
            self.checkpoint = event["step"]
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


def show_curve(compute: Compute, identity: str, dev: Sequence[dict[str, float]] = ()) -> None:
    """Draw the curve beside the run: the loss, and with ``dev`` what checkpoints came to on the dev rows."""
    content = compute.read("outputs", f"{run_place(identity)}/metrics.jsonl") or b""
    if points := list(entries(content)):
        show_picture(loss_curve(points, dev), "loss-curve", "Training loss")
