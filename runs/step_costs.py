"""What each step of a run will take and cost, by the runs of the ledger like it. Needs no Prefect.

The training is estimated by :mod:`runs.estimate`; here are the steps around it: reading, choosing, checking, and the
containers that wait for another call before Modal ends them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from compute.base import Compute
from runs.estimate import LOOKED, estimate
from runs.ledger import Entry, read_ledger
from runs.prices import prices_for
from sft.config import RunConfig
from sft.training.memory import single

READING = ("choose_reader", "evaluate", "predict")  # the jobs of the step evaluate
WAIT = (
    60.0  # seconds that a container waits for another call: Modal's default scaledown_window, which we leave as it is
)


@dataclass(frozen=True)
class StepCost:
    """``seconds`` on the GPU, None where no run like it is known; their ``cost``, None where no price is either."""

    seconds: float | None
    cost: float | None

    def told(self, currency: str) -> str:
        """In words."""
        if self.seconds is None:
            return "unknown"
        took = f"{self.seconds / 3600:.2g} h" if self.seconds >= 360 else f"{self.seconds:.0f} s"
        return took + (f", {self.cost:.2f} {currency}" if self.cost is not None else "")


class StepCosts:
    """Estimates for the steps of a configuration; none is less than what the dearest of the newest runs took a row."""

    def __init__(self, config: RunConfig, compute: Compute) -> None:
        self._config, self._compute, self.prices = config, compute, prices_for(config, compute)
        entries = read_ledger(compute, last=LOOKED)
        # Models are read on one card, however many have trained.
        like = (compute.name, single(config.reads_on))
        self._like = [e for e in entries if e.spent and (e.compute, single(e.gpu)) == like]
        self.steps: dict[str, StepCost] = {}

    def train(self, steps: int) -> StepCost:
        """``steps`` optimiser steps."""
        found = estimate(self._config, self._compute, steps)
        return self._keep("train", None if found is None else found.hours * 3600)

    def read(self, models: int, rows: int) -> StepCost:
        """``models`` models read ``rows`` rows each. A model that has read them already reads nothing: kept answers
        make a run cheaper than this.
        """
        rates = [_seconds(e, READING) / (e.rows * len(e.metrics)) for e in self._like if e.rows and e.metrics]
        return self._keep("evaluate", max(rates) * models * rows if any(rates) else None)

    def choose(self, checkpoints: int) -> StepCost:
        """So many checkpoints read the dev rows."""
        rates = [e.spent["read_dev"].seconds / e.spent["read_dev"].calls for e in self._like if "read_dev" in e.spent]
        return self._keep("choose", max(rates) * checkpoints if rates else None)

    def check(self) -> StepCost:
        """The saved model is loaded again and reads a few rows."""
        took = [_seconds(e, ("check_export",)) for e in self._like if "check_export" in e.spent]
        return self._keep("check-export", max(took) if took else None)

    def wait(self, calls: int) -> StepCost:
        """The containers of ``calls`` calls wait for others at Modal; those of a training, and of check-export, end at
        once, and here none waits.
        """
        return self._keep("waiting", calls * WAIT if self._compute.name == "modal" else 0.0)

    def total(self) -> StepCost:
        """All that was asked for. What is unknown is not in it (see :attr:`unknown`)."""
        known = [step for step in self.steps.values() if step.seconds is not None]
        costs = [step.cost for step in known if step.cost is not None]
        seconds = sum(step.seconds for step in known if step.seconds is not None)
        return StepCost(seconds if known else None, sum(costs) if costs else None)

    @property
    def unknown(self) -> Sequence[str]:
        """The steps that no run in the ledger tells of."""
        return [name for name, step in self.steps.items() if step.seconds is None]

    def _keep(self, name: str, seconds: float | None) -> StepCost:
        cost = None if seconds is None else self.prices.cost(self._billed_as(name), seconds)
        self.steps[name] = StepCost(seconds, cost)
        return self.steps[name]

    def _billed_as(self, step: str) -> str:
        return self._config.billed_as if step == "train" else self._config.reads_on


def in_words(costs: StepCosts, currency: str) -> str:
    """All steps in one line."""
    if not any(step.seconds is None or step.seconds for step in costs.steps.values()):
        return "nothing is left to pay for"
    total = costs.total().told(currency)
    missing = f"; without {', '.join(costs.unknown)}, which no run in the ledger tells of" if costs.unknown else ""
    source = f" ({costs.prices.source})" if costs.prices.source else "; no price is known"
    return (
        f"in all at most about {total}{source}{missing}" if total != "unknown" else "no run in the ledger tells of it"
    )


def _seconds(entry: Entry, jobs: Iterable[str]) -> float:
    return sum(entry.spent[job].seconds for job in jobs if job in entry.spent)
