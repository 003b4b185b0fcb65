"""What a training may cost, and what this month's trainings have cost by the ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sft.config import RunConfig
from sft.errors import BudgetExceeded
from tasks.ledger import Entry

HOUR = 3600  # seconds
RAISE = "raise the bound and run again: the training resumes from its newest checkpoint"


def month_start() -> float:
    """When this calendar month began here (Unix time in seconds)."""
    now = time.localtime()
    return time.mktime((now.tm_year, now.tm_mon, 1, 0, 0, 0, 0, 0, -1))


@dataclass(frozen=True)
class Budget:
    """Bounds of one run: ``hourly`` is the price of an hour, ``spent`` the month's cost before this run."""

    max_hours: float | None
    max_cost: float | None
    max_cost_per_month: float | None
    hourly: float | None
    spent: float
    currency: str

    @classmethod
    def of(cls, config: RunConfig, entries: list[Entry]) -> Budget:
        """The configuration's bounds, with what ``entries`` of this month cost."""
        budget, month = config.budget, time.strftime("%Y-%m")
        spent = sum(e.cost or 0 for e in entries if time.strftime("%Y-%m", time.localtime(e.started)) == month)
        hourly = budget.hourly(gpu(config))
        return cls(budget.max_hours, budget.max_cost, budget.max_cost_per_month, hourly, spent, budget.currency)

    @property
    def bounded(self) -> bool:
        """Is there a bound to look at?"""
        return (self.max_hours, self.max_cost, self.max_cost_per_month) != (None, None, None)

    def cost(self, seconds: float) -> float | None:
        """What so many seconds of training cost; None where no price is known."""
        return None if self.hourly is None else self.hourly * seconds / HOUR

    def check(self, seconds: float) -> None:
        """Look at a training that has run for ``seconds``.

        Raises:
            BudgetExceeded: it reached a bound.
        """
        if self.max_hours is not None and seconds > self.max_hours * HOUR:
            hours = f"{seconds / HOUR:.3g} h of {self.max_hours:g} h"
            raise BudgetExceeded("the run reached its bound", where="budget.max_hours", value=hours, remedy=RAISE)
        cost = self.cost(seconds) or 0.0
        if self.max_cost is not None and cost > self.max_cost:
            value = f"{cost:.2f} of {self.max_cost:g} {self.currency}"
            raise BudgetExceeded("the run reached its bound", where="budget.max_cost", value=value, remedy=RAISE)
        if self.max_cost_per_month is not None and self.spent + cost > self.max_cost_per_month:
            value = f"{self.spent + cost:.2f} of {self.max_cost_per_month:g} {self.currency}"
            raise BudgetExceeded(
                "the month reached its bound", where="budget.max_cost_per_month", value=value, remedy=RAISE
            )


def gpu(config: RunConfig) -> str:
    """What a training runs on, as the ledger and the prices name it."""
    return config.modal.gpu if config.compute == "modal" and config.modal.gpu != "none" else "cpu"
