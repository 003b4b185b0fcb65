"""How long steps will take, by the newest training of the ledger like them. Needs no Prefect."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from compute.base import Compute
from runs.ledger import read_ledger
from runs.prices import prices_for
from sft.config import RunConfig
from sft.errors import InputError

LOOKED = 200  # newest runs among which a training like it is looked for
UNKNOWN = "hours unknown until a training like it is in the ledger"


@dataclass(frozen=True)
class Estimate:
    """``hours`` of training, their ``cost`` where a price is known, and the ``day`` of the run that it is known by.

    ``priced_by`` says whose prices counted.
    """

    hours: float
    cost: float | None
    day: str
    priced_by: str = ""

    def told(self, config: RunConfig) -> str:
        """In words."""
        dated = f", {self.priced_by}" if self.priced_by not in ("", "budget.prices") else ""
        cost = f", {self.cost:.2f} {config.budget.currency}{dated}" if self.cost is not None else ""
        return f"about {self.hours:.2g} h{cost}, as the run of {self.day}"


def estimate(config: RunConfig, compute: Compute, steps: int) -> Estimate | None:
    """None where no training with this engine on this GPU is in the ledger."""
    entries = read_ledger(compute, last=LOOKED)
    like = [e for e in entries if e.trained and e.steps and (e.engine, e.gpu) == (config.engine, config.billed_as)]
    if not like:
        return None
    hours = steps * like[-1].training_seconds / like[-1].steps / 3600
    prices = prices_for(config, compute)
    price = prices.hourly(config.billed_as)
    day = time.strftime("%Y-%m-%d", time.localtime(like[-1].started))
    return Estimate(hours, None if price is None else hours * price, day, prices.source)


def within_budget(
    config: RunConfig, compute: Compute, steps: int, say: Callable[[str], None], what: str = "sweep"
) -> None:
    """Say how long a sweep, or a curve, will train.

    Raises:
        InputError: longer, or at a higher cost, than ``budget`` allows; nothing was started.
    """
    found, budget = estimate(config, compute, steps), config.budget
    say(found.told(config) if found else UNKNOWN)
    if found is None:
        return
    fewer = "leave values out of the grid" if what == "sweep" else "take smaller parts"
    remedy = f"{fewer}, train for fewer steps, or raise the bound"
    said = f"the {what} would go beyond its budget"
    if budget.max_hours is not None and found.hours > budget.max_hours:
        value = f"about {found.hours:.3g} h, the bound is {budget.max_hours:g} h"
        raise InputError(said, where="budget.max_hours", value=value, remedy=remedy)
    if budget.max_cost is not None and found.cost is not None and found.cost > budget.max_cost:
        value = f"about {found.cost:.2f} {budget.currency}, the bound is {budget.max_cost:g}"
        raise InputError(said, where="budget.max_cost", value=value, remedy=remedy)
