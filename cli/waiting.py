"""A job by hand, outside of any flow: start it, hear what it says, take its result. Nothing here needs Prefect."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from compute.base import Compute
from sft.context import read_event

LOOK = 0.1  # seconds between two looks at the job

Heard = Callable[[dict[str, Any]], None]


def run_job(
    compute: Compute,
    job: str,
    args: dict[str, Any],
    heard: Heard = lambda event: None,
    started: Callable[[str], None] = lambda call_id: None,
) -> dict[str, Any]:
    """Run a job to its end; Ctrl-C stops it. What a stopped job had finished is kept, and the next one finds it.

    Args:
        heard: hears the job's events.
        started: hears the call's id.
    Raises:
        SftError: the job's own error.
    """
    call_id, cursor = compute.start(job, args), ""
    try:
        started(call_id)
        while True:
            ended = compute.poll(call_id).ended
            lines, cursor = compute.logs(call_id, cursor)
            for event in filter(None, map(read_event, lines)):
                heard(event)
            if ended and not lines:
                return compute.result(call_id)
            time.sleep(LOOK)
    except KeyboardInterrupt:
        compute.cancel(call_id, now=True)
        raise
