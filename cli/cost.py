"""The tables of ``sft cost``: what the calls have noted, and what Modal bills."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.table import Table

from compute.select import compute_for
from runs.prices import prices_for
from runs.reconciling import Reconciled, reconciled
from sft.config import RunConfig


def cost_tables(config: RunConfig, month: str) -> Iterator[Table | str]:
    """The notes by name and step, the bill by app, the difference, and what is missing on either side."""
    compute = compute_for(config)
    prices = prices_for(config, compute)
    found, currency = reconciled(compute, prices, month), config.budget.currency
    until = time.strftime("%Y-%m-%d %H:%M", time.gmtime(found.until))
    yield _notes(found, f"{month} up to {until} UTC, as the calls have noted it", currency)
    yield f"priced by: {prices.source or 'nothing: no price is known (budget.prices)'}"
    if compute.name == "modal":
        yield _bill(found)
        yield _difference(found, currency)
    yield from found.remarks()


def _notes(found: Reconciled, title: str, currency: str) -> Table:
    table = Table("name", "step", "on", "calls", "hours", f"cost ({currency})", title=title)
    for row in found.noted:
        cost = f"{row.cost:.2f}" if row.priced else ""
        took = f"{row.seconds / 3600:.2f}"
        table.add_row(row.name, row.job.replace("_", "-"), row.gpu, str(len(row.calls)), took, cost)
    hours = sum(row.seconds for row in found.noted) / 3600
    table.add_row("in all", "", "", "", f"{hours:.2f}", f"{found.by_notes:.2f}")
    return table


def _bill(found: Reconciled) -> Table:
    table = Table("app", "cost (USD)", "of it", title=f"{found.month}, as Modal bills it")
    for bill in found.bills:
        parts = sorted(bill.by.items(), key=lambda part: -part[1])
        table.add_row(bill.app, f"{bill.cost:.2f}", ", ".join(f"{key} {cost:.2f}" for key, cost in parts))
    table.add_row("in all", f"{found.by_bill:.2f}", "")
    return table


def _difference(found: Reconciled, currency: str) -> str:
    if currency != "USD":
        return f"the notes are in {currency} and the bill in USD: they are not compared"
    more = found.by_bill - found.by_notes
    share = f" ({100 * more / found.by_notes:+.0f} %)" if found.by_notes else ""
    why = (
        "starting and waiting containers, which note nothing, and what the CPU jobs cost"
        if more >= 0
        else ("the bill comes some hours late; prices that are too high; credits")
    )
    return f"billed − noted: {more:+.2f} USD{share}; what makes it: {why}"
