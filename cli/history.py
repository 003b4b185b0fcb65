"""What has been run, and stopping what runs: tables and actions for ``sft history`` and ``sft cancel``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.table import Table

from cli.hosting import hosted_now
from compute.base import Compute
from compute.select import compute_for
from runs.calls import TRAINING, running_calls, stopping
from runs.hosting import HOSTED
from runs.ledger import TRAINING as TRAINS
from runs.ledger import Entry, ledger_names, read_ledger, trains
from runs.prices import prices_for
from runs.usage import month_so_far
from sft.config import RunConfig
from sft.errors import InputError


def history_table(config: RunConfig, last: int) -> Table:
    """The newest ``last`` runs of the volumes that the configuration uses; 0: all. What else was paid for since the
    first of them has a line for each day, kind and name.
    """
    compute = compute_for(config)
    every = ledger_names(compute, every=True)
    names, shown = [name for name in every if trains(name)], _shown(every, last)
    prices = prices_for(config, compute)
    hours, cost = month_so_far(prices, compute)
    spent = f", {cost:.2f} {config.budget.currency} ({prices.source})" if prices.source else ""
    title = (
        f"{len(names)} run{'s' if len(names) != 1 else ''} in the ledger{_more(len(every) - len(names))}; "
        f"this month {hours:.1f} h of computing{spent}"
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
    table = Table(*columns, title=title, caption=hosted_now(compute) or None)
    for entries in _by_day(read_ledger(compute, names=shown)):
        table.add_row(*(_row(entries[0]) if entries[0].kind in TRAINS else _others(entries)))
    return table


def _shown(names: Sequence[str], last: int) -> list[str]:
    """The files of the newest ``last`` runs that train, and of all else since the first of them."""
    runs = [name for name in names if trains(name)]
    first = runs[-last] if last and len(runs) > last else ""
    return [name for name in names if name >= first]


def _more(count: int) -> str:
    return f" and {count} other{'s' if count != 1 else ''} that trained nothing" if count else ""


def _by_day(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Each run that trains by itself; of what else there was, a day's of the same kind and name together."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        day = time.strftime("%Y-%m-%d", time.localtime(entry.started))
        key = (entry.id,) if entry.kind in TRAINS else (entry.kind, entry.name, day)
        found.setdefault(key, []).append(entry)
    return list(found.values())


def _others(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The line of what trained nothing: how often, what the last one was asked for, what all of it cost."""
    last, seconds = entries[-1], sum(done.seconds for entry in entries for done in entry.spent.values())
    outcomes = Counter(entry.outcome for entry in entries)
    times = f"{last.kind} ×{len(entries)}: " if len(entries) > 1 else f"{last.kind}: "
    said = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) if len(entries) > 1 else last.outcome
    error = f": {last.error.splitlines()[0][:60]}" if last.error else ""
    costs = [entry.cost for entry in entries if entry.cost is not None]
    cost = f"{sum(costs):.2f} {last.currency}" if costs else ""
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(entries[0].started))
    took = f"no; read {seconds:.0f} s"
    return (started, last.name, times + said + error, last.about[:40], "", last.gpu, took, cost, "", "")


def _row(entry: Entry) -> tuple[str, ...]:
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.started))
    took = f"{entry.training_seconds:.0f} s" if entry.trained or entry.training_seconds else "reused"
    cost = f"{entry.cost:.2f} {entry.currency}" if entry.cost is not None else ""
    scores = [f"{entry.metrics[m]['cer']:.3f}" if m in entry.metrics else "" for m in ("base", "tuned")]
    by = f" by {entry.decided_by}: {entry.reason[:60]}" if entry.decided_by else ""
    outcome = (entry.decision or entry.outcome) + by + (f": {entry.error.splitlines()[0][:60]}" if entry.error else "")
    return (started, entry.name, outcome, entry.identity[:16], entry.engine, entry.gpu, took, cost, *scores)


def json_lines(config: RunConfig, last: int) -> Iterator[str]:
    """The same entries, each whole, as JSON; ``kind`` tells what is none of a run that trains."""
    compute = compute_for(config)
    names = _shown(ledger_names(compute, every=True), last)
    yield from (entry.model_dump_json() for entry in read_ledger(compute, names=names))


def _end_hosted(compute: Compute, hosted: dict[str, str], identity: str) -> str:
    """Ask the hosted run that is meant to end; says so, or nothing where none or several are."""
    meant = [call for call in hosted.values() if identity in ("", call)]
    if len(meant) != 1:
        return ""
    from compute.modal import ModalCompute  # late: who has typed a name wrong need not wait for Modal's client

    if not isinstance(compute, ModalCompute):
        return ""
    compute.ask_to_end(meant[0])
    return f"the hosted run (call {meant[0]}) is asked to end; it stops what it has started within half a minute"


def cancel_training(config: RunConfig, identity: str, *, now: bool) -> str:
    """Stop the training whose identity starts with ``identity``; says what was stopped.

    Raises:
        InputError: none runs, or several would be meant.
    """
    compute = compute_for(config)
    found = running_calls(compute).items()
    running = {key.removeprefix(TRAINING): call for key, call in found if key.startswith(TRAINING)}
    meant = {key: call for key, call in running.items() if key.startswith(identity[:16])}
    hosted = {key: call for key, call in found if key.startswith(HOSTED)}
    if not meant and (text := _end_hosted(compute, hosted, identity)):
        return text
    if len(meant) != 1:
        known = ", ".join(sorted(running)) or "none"
        what = "no such training runs" if not meant else "several trainings run"
        raise InputError(what, where="TRAINING", value=identity or "nothing named", remedy=f"running now: {known}")
    ((key, call),) = meant.items()
    stopping(compute, call, "sft cancel")
    compute.cancel(call, now=now)
    return f"training {key} (call {call}) is stopped; run it again to resume from its newest checkpoint"
