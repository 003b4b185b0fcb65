"""The flow ``cleanup``: removes from the outputs volume what ``sft cleanup --yes`` removes, or shows what would go."""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import State, flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, Field

from compute.base import Compute
from compute.select import compute_for
from flows.choosing import ended
from flows.deployments import NOTHING, Given
from sft.config import RunConfig
from sft.jobs.maintenance import CleanupArgs
from sft.store.records import fingerprint
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell


class Freed(BaseModel):
    """What came of it: how many bytes were freed, or would be, and of how many trainings."""

    freed: int = Field(description="(bytes)")
    trainings: int
    dry_run: bool

    def told(self) -> str:
        """In one line."""
        verb = "would be freed; remove: true does it" if self.dry_run else "freed"
        return f"{self.freed / 1e6:,.1f} MB of {self.trainings} trainings {verb}"


@flow(name="cleanup", description="Remove what nobody needs any more: never what is promoted, held or unsynced")
def cleanup(
    config: Given = NOTHING, older_than: float = 14, keep: int = 3, models: bool = False, remove: bool = False
) -> Freed | State[Freed]:
    """Look, and remove if that is said.

    Args:
        config: The run's values. A deployment fills in those of its profile; what is left out is the profile's.
        older_than: Only trainings that finished so long ago (days).
        keep: The newest trainings of each name stay.
        models: Remove whole trainings, not just their checkpoints.
        remove: Do it; otherwise it is only shown what would go.
    """
    args = partial(CleanupArgs, older_than=older_than, keep=keep, models=models, dry_run=not remove)
    return ended(config, lambda settings: steps(settings, args()), Freed.told)


def steps(config: RunConfig, args: CleanupArgs) -> Freed:
    """The one step."""
    return cleaned(args, compute_for(config))


@step("cleanup", "Remove old checkpoints, or show what would go")
def cleaned(args: CleanupArgs, compute: Compute) -> Freed:
    """What was freed, with a table of every training and why it stays."""
    values = args.model_dump(mode="json")
    found: list[dict[str, Any]] = run_job(compute, f"cleanup-{fingerprint(values)[:16]}", "cleanup", values)["runs"]
    lines = ["| training | name | MB | MB that go | stays because |", "|---|---|---:|---:|---|"]
    for entry in sorted(found, key=lambda entry: -entry["bytes"]):
        sizes = f"{entry['bytes'] / 1e6:,.1f} | {entry['removed'] / 1e6:,.1f}"
        lines.append(f"| {entry['run']} | {entry['name']} | {sizes} | {entry['kept']} |")
    gone = [entry["removed"] for entry in found if entry["removed"]]
    freed = Freed(freed=sum(gone), trainings=len(gone), dry_run=args.dry_run)
    create_markdown_artifact("\n".join(lines), key="cleanup", description=freed.told())
    tell(freed.told())
    return freed
