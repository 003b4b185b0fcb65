"""What the ledger learns of a run while it goes on: its data, its training and what that cost, its scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from compute.base import Compute
from modal_infra.names import HOST
from runs.budget import Budget
from runs.calls import followed, running_call, training_key
from runs.ledger import Entry, Kind, Spent, keep, read_ledger, recorded
from runs.prices import Prices, prices_for
from runs.usage import month_so_far, read_usage
from sft import plan
from sft.config import RunConfig
from sft.engines import ENGINES
from sft.errors import SftError, Unchanged, without_secrets
from sft.jobs.placed_rows import DatasetPlace
from sft.jobs.train import TrainArgs
from sft.store.contents import Evaluation
from sft.store.usage import Usage

ABOUT = 200  # characters of what was asked for
LOOKED = 200  # newest runs among which the last one of a name is looked for


class Account:
    """Fills in the ledger's ``entry`` of a run."""

    def __init__(self, entry: Entry, config: RunConfig, compute: Compute) -> None:
        self.entry, self._config, self._compute = entry, config, compute

    def dataset(self, place: DatasetPlace) -> None:
        """The rows of the run.

        Raises:
            Unchanged: the last finished run of this name had the same data and settings, and that is to be skipped.
        """
        self.entry.dataset, self.entry.settings = place.fingerprint, plan.settings(self._config)
        if not self._config.skip_unchanged:
            return
        newest = read_ledger(self._compute, last=LOOKED)
        mine = [e for e in newest if (e.name, e.outcome, e.kind) == (self._config.name, "completed", "run")]
        finished = [e for e in mine if e.decision != "waiting"]  # somebody is still to be asked
        if finished and (finished[-1].dataset, finished[-1].settings) == (self.entry.dataset, self.entry.settings):
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(finished[-1].started))
            reason = f"data and settings are those of the run of {day} (training {finished[-1].identity[:16]})"
            raise Unchanged(reason, remedy="add data, or run with --set skip_unchanged=false")

    def training(self, args: TrainArgs) -> Budget:
        """What is going to be trained; returns what it may cost."""
        config, entry = self._config, self.entry
        entry.identity, entry.base_model, entry.gpu = args.identity, args.base_model, config.billed_as
        entry.engine_version, entry.steps = ENGINES[config.engine].version, args.spec.max_steps
        keep(entry)
        spent, prices = 0.0, prices_for(config, self._compute)
        if config.budget.max_cost_per_month:
            # The call that this run would attach to is counted while it works.
            spent = month_so_far(prices, self._compute, but=running_call(self._compute, training_key(args.identity)))[1]
        return Budget.of(config, spent, prices)

    @contextmanager
    def counting(self, args: TrainArgs) -> Iterator[None]:
        """Count how long the training's calls work that this run follows in the block, whatever becomes of them."""
        began = time.time()
        try:
            yield
        finally:  # of a training that had finished before no call is found
            try:
                calls = [u for u in read_usage(self._compute, began) if (u.job, u.identity) == ("train", args.identity)]
            except SftError:
                pass  # Modal does not answer; that is not what is to be told
            else:
                self.entry.training_seconds = sum(usage.seconds() for usage in calls)

    def judged(
        self, evaluation: Evaluation, promoted: bool | None, *, waiting: bool = False, who: str = "", reason: str = ""
    ) -> None:
        """The scores and the decision; ``who`` made it, if it was a person, and why."""
        self.entry.rows = evaluation["rows"]
        self.entry.metrics = {model: evaluation[model]["all"] for model in evaluation["models"]}
        self.entry.decision = "promoted" if promoted else "refused" if promoted is not None else ""
        if waiting:
            self.entry.decision = "waiting"
        self.entry.decided_by, self.entry.reason = who, reason


@contextmanager
def accounted(
    config: RunConfig, compute: Compute, say: Callable[[str], None], crashed: Callable[[Entry], None]
) -> Iterator[Account]:
    """A run's account; its entry is written at the end, with the outcome (see :func:`runs.ledger.recorded`)."""
    with recorded(config, compute, say, crashed) as entry, settled(entry, config, compute):
        yield Account(entry, config, compute)


@contextmanager
def paid(
    config: RunConfig,
    compute: Compute,
    kind: Kind,
    about: str,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Entry]:
    """The entry of what trains nothing and pays for calls all the same: reading, comparing, searching, checking.

    Args:
        about: what was asked for, in words.
        say: hears of a ledger that cannot be written.
    """
    with recorded(config, compute, say, kind=kind) as entry, settled(entry, config, compute):
        entry.about, entry.gpu = without_secrets(about)[:ABOUT], config.billed_as
        yield entry


@contextmanager
def settled(entry: Entry, config: RunConfig, compute: Compute) -> Iterator[None]:
    """Write into ``entry`` at the end what all calls have cost that were followed in the block, whatever becomes of
    it: the training's, those that read, chose and checked. What cannot be asked for any more is left out.
    """
    began = time.time()
    try:
        yield
    finally:
        with suppress(SftError):  # Modal does not answer; that is not what is to be told
            _settle(entry, config, compute, began)


def _settle(entry: Entry, config: RunConfig, compute: Compute, began: float) -> None:
    calls = followed(compute) | ({entry.hosted} if entry.hosted else set())
    entry.calls = sorted(calls)
    if not calls:
        entry.cost = 0.0 if config.budget.prices else None
        return
    since = entry.started if entry.hosted else began  # the host's earlier containers are this run's as well
    prices = prices_for(config, compute)
    used = [usage for usage in read_usage(compute, since) if usage.call_id in calls]
    if working := [at for at, usage in enumerate(used) if usage.call_id == entry.hosted and not usage.ended]:
        used[working[-1]] = used[working[-1]].model_copy(update={"seen": time.time()})  # this container
    entry.spent = spent(used, prices)
    # A host without a price, as in another currency, counts as free: it is cents beside the GPU.
    costs = [done.cost for job, done in entry.spent.items() if (job, done.cost) != (HOST, None)]
    if prices.hourly(config.billed_as) is not None and None not in costs:
        entry.cost, entry.priced_by = sum(cost for cost in costs if cost is not None), prices.source


def spent(used: Sequence[Usage], prices: Prices) -> dict[str, Spent]:
    """Job → what its calls came to."""
    found: dict[str, Spent] = {}
    for usage in used:
        job = found.setdefault(usage.job, Spent(cost=0.0))
        cost = prices.cost(usage.gpu, usage.seconds())
        job.calls, job.seconds = job.calls + 1, job.seconds + usage.seconds()
        job.cost = None if cost is None or job.cost is None else job.cost + cost
    return found
