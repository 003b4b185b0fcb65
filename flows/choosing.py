"""What the flows that choose share: a run that ends as Cancelled where it was cancelled, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prefect import State
from prefect.states import Cancelled, Completed

from flows.deployments import Given, configuration
from sft.config import RunConfig
from sft.errors import JobCancelled
from tasks.presence import present, sweep

T = TypeVar("T")


def ended(given: Given, steps: Callable[[RunConfig], T], told: Callable[[T], str]) -> State[T]:
    """Run the steps of a flow; its last state.

    Args:
        given: the flow's parameter ``config``.
        told: what came of it, for the state's message.
    Raises:
        SftError: the first step that fails, or why the deployment is refused.
    """
    config, refused = configuration(given)
    if refused:
        raise refused
    try:
        sweep()
        with present():
            result = steps(config)
    except JobCancelled as error:
        cancelled: State[T] = Cancelled(message=str(error))
        return cancelled
    completed: State[T] = Completed(message=told(result), data=result)
    return completed
