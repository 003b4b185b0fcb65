"""Step track: the trackers (MLflow, Weights & Biases, SwanLab) are told what came of the run. None of them fails it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prefect.exceptions import TerminationSignal

from compute.base import Compute
from runs.ledger import Entry
from runs.outbox import flush, keep
from runs.tracked import gathered
from sft.config import RunConfig
from sft.errors import JobCancelled, SftError, without_secrets
from sft.tracking import INSTALLS, interpreter
from tasks.step import step
from tasks.telling import tell


@dataclass
class Tracking:
    """The run that is told of: its entry in the ledger, once it has one."""

    entry: Entry | None = None


@contextmanager
def tracked(config: RunConfig, compute: Compute) -> Iterator[Tracking]:
    """Whatever becomes of the block, the trackers hear of it; a run that was cancelled only keeps it for the next."""
    tracking = Tracking()
    if config.track.targets and interpreter() is None:  # said while there is time to make them, not after a night
        tell(f"warning: the clients of the trackers are not installed. Next: {INSTALLS}, while the run works")
    try:
        yield tracking
    except (JobCancelled, KeyboardInterrupt, TerminationSignal):
        if config.track.targets and tracking.entry is not None:
            _keep(config, tracking.entry, compute)
        raise
    except BaseException:
        _told(config, tracking, compute)
        raise
    _told(config, tracking, compute)


def _told(config: RunConfig, tracking: Tracking, compute: Compute) -> None:
    if config.track.targets and tracking.entry is not None:
        track(config, tracking.entry, compute)


@step("track", "Tell the trackers what came of the run, and what they have missed before")
def track(config: RunConfig, entry: Entry, compute: Compute) -> int:
    """Keep what is to be sent, then send all that waits; returns how many trackers did not take it.

    What fails is said in the log with its next step: no run fails because a tracker is down.
    """
    _keep(config, entry, compute)
    try:
        missed = flush(config, compute, tell)
    except Exception as error:  # a volume that cannot be reached, a full disk
        tell(f"the trackers were told nothing, what they lack is kept: {without_secrets(str(error))[:600]}")
        return len(config.track.targets)
    for why in missed:
        tell(f"warning: {why}")
    return len(missed)


def _keep(config: RunConfig, entry: Entry, compute: Compute) -> None:
    if not entry.identity:  # it ended before it was known what is trained
        return
    try:
        keep(config, compute, gathered(config, compute, entry))
    except Exception as error:
        what = str(error) if isinstance(error, SftError) else f"{type(error).__name__}: {error}"
        remedy = f"sft track {config.profile or 'PROFILE'} {entry.identity[:16]}"
        tell(f"warning: nothing could be kept for the trackers: {without_secrets(what)[:600]}. Next: {remedy}")
