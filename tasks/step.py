"""What all steps of the flow share: a Prefect task named for what it does, tried again where that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from sft.errors import TransientError

RETRIES = 2  # for TransientError only (is_transient)
DELAYS = [5.0, 30.0]  # seconds before each of them
P = ParamSpec("P")
R = TypeVar("R")


def step(name: str, description: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """The decorator of a step.

    Args:
        name: of the task and of its runs: the UI shows it without a random suffix.
        description: what the step does, in one sentence; the UI shows it beside the task.
    """

    def decorate(body: Callable[P, R]) -> Task[P, R]:
        return task(
            name=name,
            task_run_name=name,
            description=description,
            cache_policy=NO_CACHE,  # what has been done is asked of the volumes, never of a cache on this machine
            retry_condition_fn=is_transient,
            retries=RETRIES,
            retry_delay_seconds=DELAYS,
        )(body)

    return decorate


def is_transient(task: Any, run: Any, state: Any) -> bool:
    """Prefect's retry condition: only a TransientError is worth another try."""
    try:
        state.result()
    except TransientError:
        return True
    except BaseException:
        return False
    return False
