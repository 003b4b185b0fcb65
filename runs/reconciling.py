"""A month's bill beside what the calls have noted themselves. Needs no Prefect."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from compute.base import Billed, Compute
from modal_infra.names import APP, NIGHT, SETUP, VLLM
from runs.ledger import Entry, ledger_names, read_ledger
from runs.prices import Prices
from runs.usage import read_usage
from sft.errors import InputError
from sft.store.usage import Usage

DAY = 86_400  # seconds
OURS = (APP, SETUP, VLLM, NIGHT)
NO_RUN = "(no run)"  # a doctor, a run that was killed: calls that no entry of the ledger knows of


@dataclass
class Noted:
    """What the calls of a name's job have used on a GPU; ``priced``: ``cost`` is all of it."""

    name: str
    job: str
    gpu: str
    calls: set[str] = field(default_factory=set)
    seconds: float = 0.0
    cost: float = 0.0
    priced: bool = True


@dataclass(frozen=True)
class Bill:
    """What an app was billed for, in USD, by resource in the biller's words."""

    app: str
    cost: float
    by: dict[str, float]


@dataclass(frozen=True)
class Reconciled:
    """Both sides of a month, up to ``until`` (Unix time, s): where the biller's report of whole days ends."""

    month: str
    until: float
    noted: list[Noted]
    bills: list[Bill]
    others: list[Bill]

    @property
    def by_notes(self) -> float:
        """What the notes come to."""
        return sum(row.cost for row in self.noted)

    @property
    def by_bill(self) -> float:
        """What our apps were billed for."""
        return sum(bill.cost for bill in self.bills)

    def remarks(self) -> list[str]:
        """What is missing on either side."""
        said = []
        if unpriced := sorted({row.gpu for row in self.noted if not row.priced}):
            said.append(f"no price is known of {', '.join(unpriced)}: budget.prices")
        if self.noted and not self.bills:
            said.append(
                "calls are noted, and no app of ours is in the bill: it comes some hours late, or the calls ran "
                "in another workspace or environment"
            )
        if self.bills and not self.noted:
            said.append("our apps are billed, and no call is noted: the outputs volume was removed, or is another one")
        for bill in self.bills:
            if bill.app == SETUP:
                said.append(
                    f"{SETUP} is billed for and notes nothing: downloads, choosing, promoting, TensorBoard (CPU)"
                )
        if self.others:
            cost = sum(bill.cost for bill in self.others)
            said.append(f"{len(self.others)} other apps of the workspace: {cost:.2f} USD, in no line above")
        return said


def span(month: str) -> tuple[float, float]:
    """(begin, end) of a month in UTC, as it is billed (Unix times in s); of this one, the last midnight.

    Raises:
        InputError: it is no month, or one to come.
    """
    now = time.time()
    found = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", month)
    if not found:
        raise InputError("a month is YYYY-MM", where="MONTH", value=month, remedy="use 2026-11, or leave it out")
    year, number = int(found[1]), int(found[2])
    begin = float(calendar.timegm((year, number, 1, 0, 0, 0)))
    if begin > now:
        raise InputError("the month is still to come", where="MONTH", value=month, remedy="leave it out for this one")
    end = float(calendar.timegm((year + number // 12, number % 12 + 1, 1, 0, 0, 0)))
    return begin, end if end <= now else now - now % DAY


def this_month() -> str:
    """The month that is billed now (UTC)."""
    return time.strftime("%Y-%m", time.gmtime())


def noted(usages: Iterable[Usage], entries: Sequence[Entry], prices: Prices, begin: float, end: float) -> list[Noted]:
    """The calls' notes between two moments, by the run's name, job and GPU, the dearest first."""
    names = {entry.identity: entry.name for entry in entries if entry.identity}
    # Of several that followed a call it is the first one's: that one has started it.
    by_call = {call: entry.name for entry in reversed(entries) for call in (*entry.calls, entry.hosted) if call}
    found: dict[tuple[str, str, str], Noted] = {}
    for usage in usages:
        seconds = max(0.0, min(usage.seen, end) - max(usage.began, begin))
        if not seconds:
            continue
        name = by_call.get(usage.call_id) or names.get(usage.identity, NO_RUN)
        key = name, usage.job, usage.gpu
        row, cost = found.setdefault(key, Noted(*key)), prices.cost(usage.gpu, seconds)
        row.calls.add(usage.call_id)
        row.seconds += seconds
        row.cost, row.priced = row.cost + (cost or 0.0), row.priced and cost is not None
    return sorted(found.values(), key=lambda row: (-row.cost, -row.seconds, row.name))


def by_app(items: Iterable[Billed]) -> list[Bill]:
    """The report's items, summed up for each app, the dearest first."""
    found: dict[str, Bill] = {}
    for item in items:
        so_far = found.get(item.app, Bill(item.app, 0.0, {}))
        by = {key: so_far.by.get(key, 0.0) + item.by.get(key, 0.0) for key in {*so_far.by, *item.by}}
        found[item.app] = Bill(item.app, so_far.cost + item.cost, by)
    return sorted(found.values(), key=lambda bill: -bill.cost)


def reconciled(compute: Compute, prices: Prices, month: str) -> Reconciled:
    """Both sides of a month; without a biller (``compute: local``) only the notes.

    Raises:
        InputError: there is no such month.
        ComputeError: the biller does not give its report.
    """
    begin, end = span(month)
    billed = by_app(compute.billed(begin, end)) if compute.name == "modal" and end > begin else []
    until = end if compute.name == "modal" else max(end, min(time.time(), begin + 31 * DAY))
    entries = read_ledger(compute, names=ledger_names(compute, every=True))
    return Reconciled(
        month=month,
        until=until,
        noted=noted(read_usage(compute, begin), entries, prices, begin, until),
        bills=[bill for bill in billed if bill.app in OURS],
        others=[bill for bill in billed if bill.app not in OURS],
    )
