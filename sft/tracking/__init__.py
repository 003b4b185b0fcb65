"""Trackers: MLflow, Weights & Biases, SwanLab. What is sent is a plain JSON document made of the run's own records.

The clients live in an environment of their own (``make trackers``), so that what they ask for (protobuf, rich, click)
never stands against Prefect and Paddle. Each tracker is one module that is run there, by path of the interpreter; who
adds one writes a module with ``send`` and a line in :data:`TRACKERS`. Nothing here needs the clients when imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SFT_TRACKERS_PYTHON"  # the other environment's Python; empty: there is none
PROJECT = Path(__file__).parents[2]
INSTALLS = "make trackers"


@dataclass(frozen=True)
class Tracker:
    """A tracker: who it is, which module sends to it, and what of the environment is its own.

    Attributes:
        prefix: the names of its variables begin so; they, and no other tracker's secrets, reach its process.
        token: what a person sets where it asks who sends.
    """

    title: str
    module: str
    prefix: str
    token: str


TRACKERS: Mapping[str, Tracker] = {
    "mlflow": Tracker(
        "MLflow",
        "sft.tracking.mlflow",
        "MLFLOW_",
        "MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    ),
    "wandb": Tracker("Weights & Biases", "sft.tracking.wandb", "WANDB_", "WANDB_API_KEY"),
    "swanlab": Tracker("SwanLab", "sft.tracking.swanlab", "SWANLAB_", "SWANLAB_API_KEY"),
}


def interpreter() -> Path | None:
    """The Python that has the clients, or None."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else PROJECT / ".venv-trackers" / "bin" / "python"
    return path if named != "" and path.is_file() else None
