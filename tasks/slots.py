"""A training holds a slot of one of Prefect's global concurrency limits: so many GPUs for all deployments together.

The slot is leased for a minute and renewed while the training is followed; the slot of a run whose process was killed
is free again when its lease has expired. With no limit named nothing is asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.concurrency._asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound, PrefectException, TerminationSignal
from prefect.runtime import flow_run

from compute.base import Compute
from runs.calls import running_call
from sft.config import RunConfig
from sft.errors import InputError, JobCancelled, TransientError
from tasks.following import run_is_cancelling
from tasks.telling import tell

LEASE = 60.0  # seconds, the shortest that Prefect gives: so long the slot of a killed run is taken
AGAIN = 5.0  # seconds of waiting between two looks at the run: was it cancelled?


def check_limit(config: RunConfig) -> None:
    """Before anything is done: is the limit there that the run is to keep?

    Raises:
        InputError: it is not.
    """
    if not config.gpu_limit:
        return
    with get_client(sync_client=True) as client:
        try:
            found = client.read_global_concurrency_limit_by_name(config.gpu_limit)
        except ObjectNotFound:
            remedy = f"prefect gcl create {config.gpu_limit} --limit 1; or take it out, and no limit is kept"
            said = "Prefect's server has no such global concurrency limit"
            raise InputError(said, where="gpu_limit", value=config.gpu_limit, remedy=remedy) from None
    if found.active and found.limit < config.gpus:
        said = f"the training takes {config.gpus} GPUs, and the limit has fewer slots: it would wait for ever"
        remedy = f"prefect gcl update {config.gpu_limit} --limit {config.gpus}; or take fewer GPUs"
        raise InputError(said, where="gpu_limit", value=f"{config.gpu_limit}: {found.limit}", remedy=remedy)


@contextmanager
def slot(limit: str, compute: Compute, key: str, gpus: int = 1) -> Iterator[None]:
    """Hold a slot for each GPU in the block; wait for them first.

    A run that attaches to a call that works already waits for none: another run may hold the slot of that call.

    Args:
        limit: the limit's name; empty: nothing is held.
        key: of the training's call.
    Raises:
        JobCancelled: the run was stopped or cancelled while it waited.
        TransientError: Prefect's server does not answer.
    """
    if not limit:
        yield
        return
    with ExitStack() as held:
        try:
            _take(held, limit, compute, key, gpus)
        except (KeyboardInterrupt, TerminationSignal):
            raise JobCancelled("the run was stopped while it waited for a slot", where=limit) from None
        except (ConcurrencySlotAcquisitionError, PrefectException, httpx.HTTPError) as error:
            raise TransientError("no slot can be asked for", where=limit, value=str(error)) from error
        yield


def _take(held: ExitStack, limit: str, compute: Compute, key: str, gpus: int) -> None:
    """Prefect's own waiting could not be told of a cancelled run; cut short again and again it would log an error each
    time. So the slot is asked for when there is one.
    """
    holder, waits = ConcurrencyLeaseHolder(type="flow_run", id=UUID(str(flow_run.id))), False
    while True:
        if _free(limit, gpus):
            slot = concurrency(
                limit,
                occupy=gpus,
                timeout_seconds=AGAIN,
                lease_duration=LEASE,
                strict=True,
                holder=holder,
                raise_on_lease_renewal_failure=False,  # a server that is away for a minute stops no training
            )
            with suppress(TimeoutError):  # somebody was quicker
                held.enter_context(slot)
                return tell(f"holds {'a slot' if gpus == 1 else f'{gpus} slots'} of {limit}")
        if running_call(compute, key):
            return tell(f"no slot of {limit} is free; none is needed for a training that runs already")
        if not waits:
            waits = True
            tell(f"waits for a slot of {limit}: prefect gcl inspect {limit} shows how many are taken")
        time.sleep(AGAIN)
        if run_is_cancelling():
            raise JobCancelled("the run was cancelled while it waited for a slot", where=limit)


def _free(limit: str, gpus: int) -> bool:
    with get_client(sync_client=True) as client:
        found = client.read_global_concurrency_limit_by_name(limit)
    return not found.active or found.active_slots + gpus <= found.limit
