"""What has been run, and stopping what runs: tables and actions for ``sft history`` and ``sft cancel``."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.table import Table

from compute.select import compute_for
from runs.calls import TRAINING, running_calls
from runs.ledger import Entry, ledger_names, read_ledger
from runs.usage import month_so_far
from sft.config import RunConfig
from sft.errors import InputError


def history_table(config: RunConfig, last: int) -> Table:
    """The newest ``last`` runs of the volumes that the configuration uses; 0: all."""
    compute = compute_for(config)
    names = ledger_names(compute)
    hours, cost = month_so_far(config, compute)
    spent = f", {cost:.2f} {config.budget.currency}" if config.budget.prices else ""
    title = (
        f"{len(names)} run{'s' if len(names) != 1 else ''} in the ledger; this month {hours:.1f} h of computing{spent}"
    )
    columns = (
        "started",
        "name",
        "outcome",
        "training",
        "engine",
        "on",
        "training took",
        "cost",
        "base CER",
        "tuned CER",
    )
    table = Table(*columns, title=title)
    for entry in read_ledger(compute, last=last, names=names):
        table.add_row(*_row(entry))
    return table


def _row(entry: Entry) -> tuple[str, ...]:
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.started))
    took = f"{entry.training_seconds:.0f} s" if entry.trained or entry.training_seconds else "reused"
    cost = f"{entry.cost:.2f} {entry.currency}" if entry.cost is not None else ""
    scores = [f"{entry.metrics[m]['cer']:.3f}" if m in entry.metrics else "" for m in ("base", "tuned")]
    by = f" by {entry.decided_by}: {entry.reason[:60]}" if entry.decided_by else ""
    outcome = (entry.decision or entry.outcome) + by + (f": {entry.error.splitlines()[0][:60]}" if entry.error else "")
    return (started, entry.name, outcome, entry.identity[:16], entry.engine, entry.gpu, took, cost, *scores)


def json_lines(config: RunConfig, last: int) -> Iterator[str]:
    """The same entries, each whole, as JSON."""
    yield from (entry.model_dump_json() for entry in read_ledger(compute_for(config), last=last))


def cancel_training(config: RunConfig, identity: str, *, now: bool) -> str:
    """Stop the training whose identity starts with ``identity``; says what was stopped.

    Raises:
        InputError: none runs, or several would be meant.
    """
    compute = compute_for(config)
    found = running_calls(compute).items()
    running = {key.removeprefix(TRAINING): call for key, call in found if key.startswith(TRAINING)}
    meant = {key: call for key, call in running.items() if key.startswith(identity[:16])}
    if len(meant) != 1:
        known = ", ".join(sorted(running)) or "none"
        what = "no such training runs" if not meant else "several trainings run"
        raise InputError(what, where="TRAINING", value=identity or "nothing named", remedy=f"running now: {known}")
    ((key, call),) = meant.items()
    compute.cancel(call, now=now)
    return f"training {key} (call {call}) is stopped; run it again to resume from its newest checkpoint"
