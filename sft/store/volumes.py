"""Where the three persistent volumes are mounted, for a job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAMES = ("data", "models", "outputs")
RUNS = "runs"  # the folder of all trainings on the outputs volume
REMOVING = "removing.json"  # in a training's folder: a cleanup has begun to remove it (see sft.jobs.maintenance)
SYNCED = "synced.json"  # in a training's folder: some machine has a verified copy of its model


def run_place(identity: str) -> str:
    """The folder of one training, relative to the outputs volume; ``identity`` is its fingerprint."""
    return f"{RUNS}/{identity[:16]}"


@dataclass(frozen=True)
class Volumes:
    """The mount points: /data, /models, /outputs in a Modal container; three folders on one machine."""

    data: Path
    models: Path
    outputs: Path

    @classmethod
    def below(cls, root: Path) -> Volumes:
        """The three folders ``data``, ``models`` and ``outputs`` below ``root``."""
        return cls(root / "data", root / "models", root / "outputs")

    def make(self) -> None:
        """Create the folders that are missing."""
        for folder in (self.data, self.models, self.outputs):
            folder.mkdir(parents=True, exist_ok=True)

    def run(self, identity: str) -> Path:
        """The folder of one training on the outputs volume; ``identity`` is its fingerprint."""
        return self.outputs / run_place(identity)
