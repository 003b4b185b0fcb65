"""Step choose: the checkpoint that reads the dev rows best is the candidate; and the reading beside the training."""

from __future__ import annotations

import re
from typing import Any, cast

from compute.base import Compute
from compute.records import put_json
from runs import calls
from runs.results import dev_scores
from sft import plan
from sft.config import RunConfig
from sft.errors import InputError, PatienceEnded, SftError
from sft.jobs.choose import ChooseArgs
from sft.jobs.train import STOP, TrainArgs
from sft.store.checkpoints import MANIFEST
from sft.store.contents import Chosen, DevScore, Training
from sft.store.dev import FOLDER, best
from sft.store.volumes import run_place
from tasks.following import run_job, stop
from tasks.step import step
from tasks.telling import tell
from tasks.train import show_curve

SHARE = 0.1  # of the time between two checkpoints that reading one may take


@step("choose", "Each checkpoint reads the dev rows; the best one becomes the training's model")
def choose(config: RunConfig, args: TrainArgs, training: Training, compute: Compute) -> Training:
    """The training's record, whose model is the best checkpoint's (see :func:`sft.jobs.choose.choose`).

    Raises:
        IntegrityError: no checkpoint could be read, or the best one is not whole.
    """
    if (chosen := training.get("chosen")) is None:
        there = sealed(compute, args.identity)
        read = {score["step"] for score in dev_scores(compute, args.identity)}
        # Where patience has ended the training, later checkpoints were not waited for either.
        for each in () if training.get("stopped") else sorted({*there, training["steps"]} - read):
            asked = plan.read_dev_args(config, args, each, final=each not in there)
            try:
                run_job(compute, dev_key(args, each), "read_dev", asked.model_dump())
            except InputError as gone:  # the trainer's limit has removed it
                tell(f"checkpoint-{each} is not compared: {gone.message}")
        asked_for = ChooseArgs(identity=args.identity, metric=config.promote.metric)
        training = cast("Training", run_job(compute, f"choose-{args.identity[:16]}", "choose", asked_for.model_dump()))
        chosen = training.get("chosen")
    assert chosen is not None
    tell(describe(chosen, training["steps"]))
    if chosen["metric"] != config.promote.metric:
        tell(f"promote.metric is {config.promote.metric} now; the choice by {chosen['metric']} was made, and stands")
    show_curve(compute, args.identity, chosen["scores"])
    return training


def describe(chosen: Chosen, last: int) -> str:
    """A choice in words.

    Args:
        last: the training's last step.
    """
    by_step = {int(score["step"]): score for score in chosen["scores"]}
    metric, value = chosen["metric"], by_step[chosen["step"]][chosen["metric"]]
    rows = f"{chosen['rows']} of {chosen['of_rows']} dev rows"
    said = f"checkpoint-{chosen['step']} is the model: {metric} {value:.3f} on {rows}"
    others = [f"{score[metric]:.3f} at step {at}" for at, score in sorted(by_step.items()) if at != chosen["step"]]
    said += f" ({', '.join(others)})" if others else ""
    if chosen["step"] == last:
        said += "; it is the last one"
    return f"{said}; {chosen['kept']}" if chosen["kept"] else said


def sealed(compute: Compute, identity: str) -> set[int]:
    """The steps of the finished checkpoints whose weights are there."""
    pattern = re.compile(rf"checkpoint-(\d+)/{re.escape(MANIFEST)}$")
    files = [
        file for place in ("trainer", FOLDER) for file in compute.list("outputs", f"{run_place(identity)}/{place}")
    ]
    return {int(match[1]) for file in files if (match := pattern.search(file.path))}


def dev_key(args: TrainArgs, at: int) -> str:
    """Under what key the call that reads with the checkpoint of a step is kept."""
    return f"dev-{args.identity[:16]}-{at}"


class Beside:
    """Lets finished checkpoints read dev rows while the training goes on, one at a time, and ends it when none gets
    better any more.

    What it has not come to is read by the step choose. A reading that fails ends no training.
    """

    def __init__(self, config: RunConfig, args: TrainArgs, compute: Compute) -> None:
        self._config, self._args, self._compute = config, args, compute
        self._scores = {score["step"]: score for score in dev_scores(compute, args.identity)}
        self._due: list[int] = []
        self._call, self._step = "", 0
        self._interval = 0.0  # seconds between two checkpoints

    def hear(self, event: dict[str, Any]) -> None:
        """An event of the training."""
        if event["event"] == "progress" and event["rate"] > 0:
            self._interval = self._args.spec.save_steps / event["rate"]
        elif event["event"] == "checkpoint" and event["step"] not in self._scores:
            self._due.append(event["step"])

    def look(self) -> None:
        """Start the next reading, or take what has ended.

        Raises:
            PatienceEnded: the training is to end, and a note beside it says so to whoever goes on with it.
        """
        if self._call and self._compute.poll(self._call).ended:
            self._take()
            self._check_patience()
        elif not self._call and self._due:
            self._step = self._due.pop(0)
            asked = plan.read_dev_args(self._config, self._args, self._step, within=SHARE * self._interval)
            key = dev_key(self._args, self._step)
            self._call, _ = calls.attach_or_start(self._compute, key, "read_dev", asked.model_dump())

    def stop(self) -> None:
        """End what reads now."""
        if self._call and not self._compute.poll(self._call).ended:
            stop(self._compute, self._call)

    def _take(self) -> None:
        call, self._call = self._call, ""
        try:
            found = cast("DevScore", self._compute.result(call))
        except SftError as error:
            tell(f"checkpoint-{self._step} has not read the dev rows: {error.message.splitlines()[0]}")
            return
        self._scores[self._step] = found
        metric = self._config.promote.metric
        first = best(list(self._scores.values()), metric)
        value = found["scores"]["all"][metric]
        rows = f"{found['rows']} of {found['of_rows']} dev rows"
        best_so_far = f"the best so far is checkpoint-{first['step']}"
        tell(f"checkpoint-{self._step} on {rows}: {metric} {value:.3f}; {best_so_far}")

    def _check_patience(self) -> None:
        patience, found = self._config.train.patience, list(self._scores.values())
        if not patience or not found:
            return
        first = best(found, self._config.promote.metric)["step"]
        later = sum(score["step"] > first for score in found)
        if later >= patience:
            why = f"{later} checkpoints in a row read the dev rows no better than checkpoint-{first} (train.patience)"
            put_json(self._compute, "outputs", f"{run_place(self._args.identity)}/{STOP}", {"why": why})
            raise PatienceEnded(why, remedy="the training ends with what it has")
