"""Is there a token for Modal? Without Modal's client, which takes a while to import."""

from __future__ import annotations

import os
from pathlib import Path

from sft.errors import ComputeError


def possible() -> bool:
    """Is there anything where the client looks for one (``modal/config.py``): the environment, or its file?

    In a container of Modal's none is needed.
    """
    if in_container():
        return True
    file = Path(os.environ.get("MODAL_CONFIG_PATH") or "~/.modal.toml").expanduser()
    return bool(os.environ.get("MODAL_TOKEN_ID")) or file.exists()


def in_container() -> bool:
    """Does this process run in a container of Modal's? Its client needs no token (``modal/client.py``, 1.6.4)."""
    return os.environ.get("MODAL_IS_REMOTE") == "1"


def missing() -> ComputeError:
    """There is none on this machine."""
    remedy = "modal token new, which opens a browser; or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"
    return ComputeError("there is no token for Modal on this machine", remedy=remedy)
