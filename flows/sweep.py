"""The flow ``sweep``: several trainings that differ in their hyperparameters; the best on dev rows goes to the gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prefect import State, flow
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel

from compute.base import Compute
from compute.select import compute_for
from flows import fine_tune
from flows.choosing import ended
from flows.deployments import NOTHING, Given
from runs import calls, halving
from runs.account import settled
from runs.budget import Budget
from runs.checking import check_folder, check_swept
from runs.estimate import within_budget
from runs.ledger import Entry, recorded
from runs.prices import prices_for
from runs.results import RunResult, starting_from
from runs.sweeping import Standing, picture, table
from sft import plan
from sft.config import RunConfig
from sft.config.grid import Trial, trials, varied
from sft.errors import JobCancelled, TrainingFailed, check_all
from sft.jobs.train import TrainArgs
from sft.store import records
from sft.store.contents import DevScore
from tasks.ensure_base_model import ensure_base_model
from tasks.ensure_wheel import ensure_wheel
from tasks.events import crashed
from tasks.following import stop
from tasks.picturing import show_choice
from tasks.slots import check_limit
from tasks.telling import tell
from tasks.trial import Meter, trial

AT_MOST = 16  # trials side by side


class Swept(BaseModel):
    """What a sweep came to: how each trial stands, and the run of the best one."""

    standings: list[Standing]
    result: RunResult


@flow(
    name="sweep",
    description="Train with several hyperparameters, keep the better half again and again, let the best pass the gate",
    task_runner=ThreadPoolTaskRunner(max_workers=AT_MOST),  # type: ignore[arg-type]
)
def sweep(grid: list[str], config: Given = NOTHING, halve: bool = True, at_once: int = 1) -> Swept | State[Swept]:
    """Validate, prepare, train the trials, choose, judge. A cancelled run ends as Cancelled, its jobs stopped.

    Args:
        grid: Hyperparameters and their values: train.learning_rate=1e-6,5e-6.
        config: The run's values. A deployment fills in those of its profile; what is left out is the profile's.
        halve: Drop the worse half of the trials at a quarter, half, … of the steps; else all are trained to their end.
        at_once: Trials that are trained side by side, each on a GPU of its own.

    Raises:
        SftError: the first step that fails; what was trained before it is kept and found by the next run.
    """
    side_by_side = max(1, min(at_once, AT_MOST))
    return ended(config, lambda settings: steps(settings, grid, halve, side_by_side), _told)


def _told(swept: Swept) -> str:
    return f"{swept.standings[0].label}: {swept.result.decision or 'finished'}"


def steps(config: RunConfig, grid: Sequence[str], halve: bool, at_once: int) -> Swept:
    """The steps of the flow, in order."""
    folders = partial(check_folder, Path(config.output.folder))
    found: list[Trial] = []
    limits = lambda: check_limit(config)  # noqa: E731
    check_all(lambda: check_swept(config), lambda: found.extend(trials(config, grid)), folders, limits)
    compute = compute_for(config)
    with recorded(config, compute, tell, crashed, "sweep") as entry, settled(entry, config, compute):
        best, standings = _best(config, found, halve, at_once, compute, entry)
    tell(f"the best is {best.label}: it goes on to the gate")
    return Swept(standings=standings, result=fine_tune.steps(best.config))


def _best(
    config: RunConfig, found: Sequence[Trial], halve: bool, at_once: int, compute: Compute, entry: Entry
) -> tuple[Trial, list[Standing]]:
    """(the trial that reads the dev rows best, how all of them stand); ``entry`` of the ledger learns what it took."""
    place, amount = fine_tune.dataset(config, compute)
    ensure_wheel(config, compute)
    base = ensure_base_model(config, compute)
    length = max(plan.train_spec(each.config, amount).max_steps for each in found)
    every = halving.saved_every(length, len(found), config.train.save_steps) if halve else config.train.save_steps
    found = [Trial(each.label, varied(each.config, [f"train.save_steps={every}"])) for each in found]
    args = [starting_from(each.config, compute, place, amount, base) for each in found]
    check_swept(config, [each.identity for each in args])
    at = {each.identity: _rungs(each.spec.max_steps, len(found), every, halve) for each in args}
    total = sum(each.spec.max_steps for each in args)
    planned = halving.planned(len(found), at[args[0].identity]) if halve else total
    tell(f"{len(found)} trials, {planned} steps in all of {total}")
    within_budget(config, compute, planned, tell)
    entry.gpu, entry.steps = config.billed_as, planned
    meter = Meter(Budget.of(config, prices=prices_for(config, compute)))
    try:
        standings = _raced(found, args, at, compute, at_once, meter)
    finally:
        entry.training_seconds = meter.seconds
    metric, key = config.promote.metric, records.fingerprint([each.identity for each in args])[:8]
    folder = Path(config.output.folder) / "sweeps" / f"{config.name}-{key}"
    title = f"{config.name}: what each trial came to on the dev rows"
    page = show_choice(folder, title, "sweep", picture(standings, metric), table(standings, metric), ())
    tell(f"the sweep's report: {page}")
    (best,) = (each for each in found if each.label == standings[0].label)
    return best, standings


def _rungs(steps: int, trials: int, every: int, halve: bool) -> list[int]:
    return halving.rungs(steps, trials, every) if halve else [steps]


def _raced(
    found: Sequence[Trial],
    args: Sequence[TrainArgs],
    at: dict[str, list[int]],
    compute: Compute,
    at_once: int,
    meter: Meter,
) -> list[Standing]:
    """How the trials stand, the best first: those that came further stand before those that did not.

    Raises:
        TrainingFailed: none of them could be trained.
        JobCancelled: the sweep was cancelled, and whatever trained was stopped.
    """
    alive = [Standing(label=each.label, identity=one.identity) for each, one in zip(found, args)]
    by_identity = {one.identity: (each.config, one) for each, one in zip(found, args)}
    dropped: list[Standing] = []
    last = max(map(len, at.values())) - 1
    for rung in range(last + 1):
        for start in range(0, len(alive), at_once):
            now = alive[start : start + at_once]
            with together(compute, [standing.identity for standing in now]):
                running = [_submit(standing, rung, by_identity, at, compute, meter) for standing in now]
                for standing, future in zip(now, running):
                    standing.add(future.result())
        alive.sort(key=lambda standing: standing.last(by_identity[standing.identity][0].promote.metric))
        if alive[0].failed:
            said, remedy = "none of the trials could be trained", "see each one's error above; other values may help"
            raise TrainingFailed(said, value=", ".join(standing.label for standing in alive), remedy=remedy)
        if rung < last:
            kept = halving.survivors(len(alive))
            alive, dropped = alive[:kept], [*alive[kept:], *dropped]
    return [*alive, *dropped]


def _submit(
    standing: Standing,
    rung: int,
    trials: Mapping[str, tuple[RunConfig, TrainArgs]],
    at: Mapping[str, list[int]],
    compute: Compute,
    meter: Meter,
) -> PrefectFuture[DevScore | None]:
    config, args = trials[standing.identity]
    rungs = at[standing.identity]
    return trial.submit(standing.label, rungs[min(rung, len(rungs) - 1)], config, args, compute, meter)


@contextmanager
def together(compute: Compute, identities: Sequence[str]) -> Iterator[None]:
    """What ends one of the trials that train now ends all of them."""
    try:
        yield
    except BaseException as ended:
        keys = map(calls.training_key, identities)
        if running := list(filter(None, (calls.running_call(compute, key) for key in keys))):
            stop(compute, "the sweep was stopped", *running)
        if isinstance(ended, (KeyboardInterrupt, TerminationSignal)):
            remedy = "the same again: nothing that was trained is lost"
            raise JobCancelled("the sweep was stopped", remedy=remedy) from None
        raise
