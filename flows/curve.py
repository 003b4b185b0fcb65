"""The flow ``curve``: how many pages do I need? Trainings on nested parts of them, and what more would give."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from prefect import State, flow

from compute.base import Compute
from compute.select import compute_for
from flows import fine_tune
from flows.choosing import ended
from flows.deployments import NOTHING, Given
from flows.sweep import together
from runs.account import settled
from runs.budget import Budget
from runs.checking import CURVE, check_folder, check_parts, check_swept
from runs.estimate import estimate, within_budget
from runs.growth import Growth, Point, picture, table, verdict
from runs.ledger import Entry, recorded
from runs.parts import PARTS
from runs.prices import prices_for
from runs.results import finished_training, starting_from
from sft.config import RunConfig
from sft.config.grid import varied
from sft.errors import TrainingFailed, check_all
from sft.jobs.train import TrainArgs
from sft.store import records
from sft.store.contents import DevScore
from tasks.ensure_base_model import ensure_base_model
from tasks.ensure_wheel import ensure_wheel
from tasks.events import crashed
from tasks.picturing import show_choice
from tasks.slots import check_limit
from tasks.telling import tell
from tasks.trial import Meter, trial

MORE = (2, 4)  # times as many pages


@flow(name="curve", description="Train on nested parts of the pages; a power law says what more pages would give")
def curve(
    config: Given = NOTHING,
    parts: list[float] = list(PARTS),  # noqa: B006 (Prefect's form shows it, and nobody changes it)
) -> Growth | State[Growth]:
    """Validate, prepare, train on each part, fit. A cancelled run ends as Cancelled, its job stopped.

    Args:
        config: The run's values. A deployment fills in those of its profile; what is left out is the profile's.
        parts: Parts of the training set's documents; a smaller one is a part of a larger one.

    Raises:
        SftError: the first step that fails; what was trained before it is kept and found by the next run.
    """
    return ended(config, lambda settings: steps(settings, parts), lambda growth: verdict(growth)[0])


def steps(config: RunConfig, parts: Sequence[float]) -> Growth:
    """The steps of the flow, in order."""
    folders = partial(check_folder, Path(config.output.folder))
    limits = lambda: check_limit(config)  # noqa: E731
    check_all(lambda: check_swept(config, what=CURVE), lambda: check_parts(config, parts), folders, limits)
    compute = compute_for(config)
    with recorded(config, compute, tell, crashed, "curve") as entry, settled(entry, config, compute):
        growth = _grown(config, sorted(set(parts)), compute, entry)
    key = records.fingerprint([point.identity for point in growth.points])[:8]
    folder = Path(config.output.folder) / "curves" / f"{config.name}-{key}"
    title = f"{config.name}: what more pages would give"
    page = show_choice(folder, title, "curve", picture(growth), table(growth), verdict(growth))
    for line in (*verdict(growth), f"the curve's report: {page}"):
        tell(line)
    return growth


def _grown(config: RunConfig, parts: Sequence[float], compute: Compute, entry: Entry) -> Growth:
    """What each part comes to at its end, on the same dev rows."""
    place, amount = fine_tune.dataset(config, compute)
    ensure_wheel(config, compute)
    base = ensure_base_model(config, compute)
    most = config.train.max_steps  # a number is for all pages: a part is passed over as often
    configs = [varied(config, _settings(part, most)) for part in parts]
    args = [
        starting_from(each, compute, place.model_copy(update={"part": part}), amount.part(part), base)
        for each, part in zip(configs, parts)
    ]
    total = sum(each.spec.max_steps for each in args)
    tell(f"{len(parts)} trainings, {total} steps in all")
    within_budget(config, compute, total, tell, CURVE)
    entry.gpu, entry.steps = config.billed_as, total
    meter, metric = Meter(Budget.of(config, prices=prices_for(config, compute))), config.promote.metric
    points: list[Point] = []
    try:
        for part, each, one in zip(parts, configs, args):
            with together(compute, [one.identity]):
                found: DevScore | None = trial(f"part {part:g}", one.spec.max_steps, each, one, compute, meter)
            if found is None:
                remedy = "another learning rate, or a larger part"
                raise TrainingFailed("a part cannot be trained on", value=f"part {part:g}", remedy=remedy)
            points.append(Point.of(part, _rows(compute, one), one.spec.max_steps, found, metric, one.identity))
    finally:
        entry.training_seconds = meter.seconds
    whole = args[-1].spec.max_steps / parts[-1]  # steps for all pages
    costs = {times: estimate(config, compute, round(whole * times)) for times in MORE}
    told = {times: found.told(config) if found else "" for times, found in costs.items()}
    return Growth(metric=metric, points=points, all_rows=amount.rows, costs=told)


def _rows(compute: Compute, args: TrainArgs) -> int:
    """How many rows were trained on: documents differ in size."""
    record = finished_training(compute, args.identity)
    assert record is not None, "it was trained to its end"
    return record["left_out"]["rows"]


def _settings(part: float, most: int | str) -> list[str]:
    steps = [f"train.max_steps={max(1, round(part * most))}"] if isinstance(most, int) else []
    return [f"dataset.part={part}", *steps]
