"""Waiting for a call's end, the one way of it: hear what it says, look at something else between, take its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from compute.base import Compute
from runs import calls
from sft.context import read_event

SOON, SHARE = 0.1, 0.02  # the wait between two looks at a job: seconds at least, and of the time that it has worked

Heard = Callable[[dict[str, Any]], None]


def follow(
    compute: Compute, call_id: str, hear: Callable[[str], None], look: Callable[[float], None] = lambda worked: None
) -> dict[str, Any]:
    """The call's result, once it has ended and all that it said is heard.

    Args:
        hear: hears each line of its log.
        look: is called between two looks at the call, with the seconds that it has been followed; what it raises ends
            the waiting, not the call.
    Raises:
        SftError: the job's own error.
    """
    cursor, began = "", time.monotonic()
    while True:
        ended = compute.poll(call_id).ended
        lines, cursor = compute.logs(call_id, cursor)
        for line in lines:
            hear(line)
        if ended and not lines:
            return compute.result(call_id)
        worked = time.monotonic() - began
        look(worked)
        if not lines:
            time.sleep(min(compute.pace, max(SOON, SHARE * worked)))


def run_job(
    compute: Compute,
    job: str,
    args: dict[str, Any],
    heard: Heard = lambda event: None,
    started: Callable[[str], None] = lambda call_id: None,
) -> dict[str, Any]:
    """A job by hand, outside of any flow; Ctrl-C stops it. What it had finished is kept, and the next one finds it.

    Args:
        heard: hears the job's events.
        started: hears the call's id.
    Raises:
        SftError: the job's own error.
    """

    def hear(line: str) -> None:
        if (event := read_event(line)) is not None:
            heard(event)

    call_id = compute.start(job, args)
    calls.following(compute, call_id)
    try:
        started(call_id)
        return follow(compute, call_id, hear)
    except KeyboardInterrupt:
        calls.stopping(compute, call_id, "Ctrl-C")
        compute.cancel(call_id, now=True)
        raise
