"""Which adapter a configuration asks for, and where this machine keeps its state."""

from __future__ import annotations

import os
from pathlib import Path

from compute import token
from compute.base import Compute
from compute.local import LocalCompute
from sft.config import RunConfig

STATE_VARIABLE = "SFT_HOME"


def state_folder() -> Path:
    """The folder of calls, local volumes and composed datasets: $SFT_HOME, or .sft in the working directory."""
    return Path(os.path.expanduser(os.environ.get(STATE_VARIABLE) or ".sft")).resolve()


def compute_for(config: RunConfig) -> Compute:
    """The adapter of ``config.compute``.

    Raises:
        ComputeError, TransientError: there is no way to Modal from here (:func:`compute.reach.ready`).
    """
    if config.compute == "local":
        return LocalCompute(state_folder(), make=False)
    check_modal()
    from compute.modal import ModalCompute  # the client takes a while to import, and a local run needs none

    return ModalCompute(config)


def check_modal() -> None:
    """Make sure that there is a token and a way to Modal.

    Modal's client is not imported to say that there is no token: that takes 0.7 s.

    Raises:
        ComputeError: there is no token.
        SftError: see :func:`compute.reach.ready`.
    """
    if not token.possible():
        raise token.missing()
    from compute.reach import ready

    ready()
