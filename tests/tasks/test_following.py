"""A call that ended without a result: did it die, or has somebody stopped it on purpose?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compute.base import Status
from compute.local import LocalCompute
from runs import calls
from sft.errors import JobCancelled, JobDied
from tasks.following import follow


class Gone(LocalCompute):
    """Its calls end as those do at Modal whose container was cancelled before it could say so (compute/modal.py)."""

    def poll(self, call_id: str) -> Status:
        return Status("failed")

    def logs(self, call_id: str, cursor: str) -> tuple[list[str], str]:
        return [], ""

    def result(self, call_id: str) -> dict[str, Any]:
        raise JobDied("the container ended without a result", where=call_id)


def test_a_call_that_somebody_has_stopped_is_told_from_one_that_died(tmp_path: Path) -> None:
    compute = Gone(tmp_path)
    with pytest.raises(JobDied):
        follow(compute, "fc-1", print)
    calls.stopping(compute, "fc-1", "Ctrl-C")
    with pytest.raises(JobCancelled, match=r"fc-1: the job was stopped by \S+@\S+ \(Ctrl-C\)"):
        follow(compute, "fc-1", print)
    with pytest.raises(JobDied):
        follow(compute, "fc-2", print)
