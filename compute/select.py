"""Which adapter a configuration asks for, and where this machine keeps its state."""

from __future__ import annotations

import os
from pathlib import Path

from compute.base import Compute
from compute.local import LocalCompute
from sft.config import RunConfig
from sft.errors import ComputeError

STATE_VARIABLE = "SFT_HOME"


def state_folder() -> Path:
    """The folder of calls, local volumes and composed datasets: $SFT_HOME, or .sft in the working directory."""
    return Path(os.environ.get(STATE_VARIABLE) or ".sft").resolve()


def compute_for(config: RunConfig) -> Compute:
    """The adapter of ``config.compute``.

    Raises:
        ComputeError: it is not there.
    """
    if config.compute == "local":
        return LocalCompute(state_folder())
    raise ComputeError(
        "compute modal is not there yet", where="compute", value=config.compute, remedy="use --set compute=local"
    )
