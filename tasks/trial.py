"""Task trial: one point of a sweep is trained up to a rung, and reads the dev rows there."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE

from compute.base import Compute
from runs.budget import Budget
from runs.results import dev_scores, finished_training
from sft import plan
from sft.config import RunConfig
from sft.errors import BudgetExceeded, TrainingFailed
from sft.jobs.train import TrainArgs
from sft.store.contents import DevScore
from tasks.choose import dev_key, sealed
from tasks.following import run_job
from tasks.step import is_transient
from tasks.telling import tell
from tasks.train import until_it_ends


class Paused(BudgetExceeded):
    """A trial has come to its rung; it goes on from its checkpoint if it survives."""


class Meter:
    """How long the trials of a sweep have trained together, against the bounds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self.seconds, self._lock = budget, 0.0, threading.Lock()

    def add(self, seconds: float) -> None:
        """So much longer.

        Raises:
            BudgetExceeded: a bound is reached.
        """
        with self._lock:
            self.seconds += seconds
            total = self.seconds
        if self._budget.bounded:
            self._budget.check(total)


class Until:
    """Works beside a training and ends it once the checkpoint of a step is there; 0: it goes on to its end."""

    def __init__(self, step: int, meter: Meter) -> None:
        self._step, self._meter, self._looked = step, meter, time.monotonic()

    def hear(self, event: dict[str, Any]) -> None:
        """An event of the training.

        Raises:
            Paused: the checkpoint is there.
        """
        if event["event"] == "checkpoint" and self._step and event["step"] >= self._step:
            raise Paused(f"checkpoint-{self._step} is there")

    def look(self) -> None:
        """Count the time.

        Raises:
            BudgetExceeded: a bound is reached.
        """
        now = time.monotonic()
        self._meter.add(now - self._looked)
        self._looked = now

    def stop(self) -> None:
        """Nothing of its own."""


@task(
    name="trial",
    task_run_name="{label}, to step {until}",
    description="Train one point of the sweep up to a step, or find what was trained; it reads the dev rows there",
    cache_policy=NO_CACHE,
    retry_condition_fn=is_transient,
    retries=2,
    retry_delay_seconds=[5.0, 30.0],
)
def trial(
    label: str, until: int, config: RunConfig, args: TrainArgs, compute: Compute, meter: Meter
) -> DevScore | None:
    """What the trial comes to at the step ``until``; None where it cannot be trained: its loss diverges, say.

    Raises:
        JobCancelled: the sweep was cancelled; the job was stopped.
        BudgetExceeded: the sweep has reached a bound of the budget.
    """
    known = {score["step"]: score for score in dev_scores(compute, args.identity)}
    if until in known:
        return known[until]
    if until not in sealed(compute, args.identity) and finished_training(compute, args.identity) is None:
        tell(f"{label}: training {args.identity[:16]} up to step {until} of {args.spec.max_steps}")
        try:
            beside = Until(until if until < args.spec.max_steps else 0, meter)
            until_it_ends(args, compute, config.train.restarts, beside, config.gpu_limit)
        except Paused as paused:
            tell(f"{label}: {paused.message}")
        except TrainingFailed as failed:
            tell(f"{label} drops out: {failed}")
            return None
    final = until not in sealed(compute, args.identity)
    asked = plan.read_dev_args(config, args, until, final=final)
    return cast("DevScore", run_job(compute, dev_key(args, until), "read_dev", asked.model_dump()))
