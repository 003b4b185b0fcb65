"""What was paid for, as the calls have noted it (see :mod:`sft.store.usage`). Nothing here needs Prefect."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pydantic import ValidationError

from compute.base import Compute
from runs.kept import read_kept
from runs.prices import Prices
from sft.store.usage import FOLDER, Usage, month, stamp

DAY = 86_400  # seconds
LONGEST = 2 * DAY  # seconds: a call that began before the time that is asked for may reach into it


def read_usage(compute: Compute, since: float) -> Iterator[Usage]:
    """All calls that worked at or after ``since`` (Unix time in seconds), in the order of their begin."""
    listed = [file.path for folder in _folders(since - LONGEST) for file in compute.list("outputs", folder)]
    names = sorted(path.removeprefix(f"{FOLDER}/") for path in listed if path.endswith(".json"))
    names = [name for name in names if name.rpartition("/")[2] >= stamp(since - LONGEST)]
    for content in read_kept(compute, FOLDER, names, lambda content: bool(content.get("ended"))):
        try:
            usage = Usage.model_validate(content)
        except ValidationError:
            continue  # of a version that knew other fields
        if usage.seen >= since:
            yield usage


def _folders(since: float) -> list[str]:
    """Those of the months from ``since`` on; the one above them where that is long ago."""
    days = range(int(since // DAY), int(time.time() // DAY) + 2)
    return sorted({f"{FOLDER}/{month(day * DAY)}" for day in days}) if len(days) < 100 else [FOLDER]


def month_start() -> float:
    """When this calendar month began here (Unix time in seconds)."""
    now = time.localtime()
    return time.mktime((now.tm_year, now.tm_mon, 1, 0, 0, 0, 0, 0, -1))


def month_so_far(prices: Prices, compute: Compute, but: str = "") -> tuple[float, float]:
    """(hours, cost) of this month's calls but the call ``but``.

    A call of a GPU without a price counts as free.
    """
    start, hours, cost = month_start(), 0.0, 0.0
    for usage in read_usage(compute, start):
        if usage.call_id != but:
            took = usage.seconds(start) / 3600
            hours, cost = hours + took, cost + took * (prices.hourly(usage.gpu) or 0.0)
    return hours, cost
