"""Step ensure-wheel: the paddlepaddle-gpu wheel on the models volume, downloaded once."""

from __future__ import annotations

from dataclasses import dataclass

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from compute.base import Compute
from tasks.telling import tell


@dataclass(frozen=True)
class Wheel:
    """``path`` on the models volume, or the reason why none is needed."""

    path: str
    skipped: str = ""


@task(
    name="ensure-wheel",
    description="Keep the GPU wheel on the models volume, so that no image build downloads it",
    cache_policy=NO_CACHE,  # what has been done is asked of the volumes
)
def ensure_wheel(compute: Compute) -> State[Wheel]:
    """Skipped on local compute, which trains with the CPU wheel of its own environment."""
    reason = f"compute {compute.name} needs no GPU wheel: it trains with the CPU build of its environment"
    tell(f"skipped: {reason}")
    return Completed(name="Skipped", message=reason, data=Wheel("", reason))
