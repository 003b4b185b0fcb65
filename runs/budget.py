"""What a training may cost."""

from __future__ import annotations

from dataclasses import dataclass

from runs.prices import Prices
from sft.config import RunConfig
from sft.errors import BudgetExceeded

HOUR = 3600  # seconds
RAISE = "raise the bound and run again: the training resumes from its newest checkpoint"


@dataclass(frozen=True)
class Budget:
    """Bounds of one run: ``hourly`` is the price of an hour, ``spent`` what the month's other calls cost."""

    max_hours: float | None
    max_cost: float | None
    max_cost_per_month: float | None
    hourly: float | None
    spent: float
    currency: str

    @classmethod
    def of(cls, config: RunConfig, spent: float = 0.0, prices: Prices | None = None) -> Budget:
        """The configuration's bounds, by ``prices``; without, by the configuration's own."""
        budget, hourly = config.budget, (prices or Prices(config)).hourly(config.billed_as)
        return cls(budget.max_hours, budget.max_cost, budget.max_cost_per_month, hourly, spent, budget.currency)

    @property
    def bounded(self) -> bool:
        """Is there a bound to look at?"""
        return (self.max_hours, self.max_cost, self.max_cost_per_month) != (None, None, None)

    def cost(self, seconds: float) -> float | None:
        """What so many seconds of training cost; None where no price is known."""
        return None if self.hourly is None else self.hourly * seconds / HOUR

    def month(self, seconds: float) -> float:
        """What the month has cost, with ``seconds`` of this training."""
        return self.spent + (self.cost(seconds) or 0.0)

    def check(self, seconds: float) -> None:
        """Look at a run whose training has worked for ``seconds``.

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
        if self.max_cost_per_month is not None and self.month(seconds) > self.max_cost_per_month:
            value = f"{self.month(seconds):.2f} of {self.max_cost_per_month:g} {self.currency}"
            raise BudgetExceeded(
                "the month reached its bound", where="budget.max_cost_per_month", value=value, remedy=RAISE
            )
