"""What Modal charges, in its own words: its rates, and its billing report (modal client 1.6, ``Workspace.billing``)."""

from __future__ import annotations

from datetime import UTC, datetime

import modal
from modal.exception import PermissionDeniedError, UnimplementedError

from compute.base import Billed
from compute.reach import translated
from sft.errors import ComputeError

WHERE = "Modal's billing"


def rates() -> dict[str, float]:
    """Key → price in USD: ``cpu_hour_cost`` (a core), ``mem_gib_hour_cost``, ``gpu_hour_cost_a100_80gb``, …, for an
    hour. (The client passes on what the server says; these keys are those of recorded ``modal billing rates --json``.)
    """
    with translated(WHERE):
        try:
            return {key: float(price) for key, price in modal.Workspace.from_context().billing.rates().items()}
        except (PermissionDeniedError, UnimplementedError):
            return {}  # not given to this token, or by this server


def billed(since: float, until: float) -> list[Billed]:
    """The billing report of the whole UTC days between two moments: an item for each app and day.

    Raises:
        ComputeError: the workspace does not give it to this token.
    """
    start, end = (datetime.fromtimestamp(moment, UTC).replace(tzinfo=None) for moment in (since, until))
    with translated(WHERE):
        try:
            items = modal.Workspace.from_context().billing.report(start=start, end=end, resolution="d")
        except (PermissionDeniedError, UnimplementedError) as error:
            remedy = "ask an owner of the workspace, or look at Usage and billing in Modal's settings"
            said = f"Modal does not give its billing report to this token: {error}"
            raise ComputeError(said, where=WHERE, remedy=remedy) from error
    return [
        Billed(
            app=item.description,
            day=item.interval_start.strftime("%Y-%m-%d"),
            cost=float(item.cost),
            by={resource: float(cost) for resource, cost in item.cost_by_resource.items()},
        )
        for item in items
    ]
