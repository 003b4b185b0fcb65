"""Step bring-dataset: rows and images that lie elsewhere come to the data volume where the job runs, once."""

from __future__ import annotations

from compute.base import Compute
from sft.config import RunConfig
from sft.dataset.elsewhere import placed
from sft.jobs.scan_rows import PlacedFiles
from tasks.step import step


@step("bring-dataset", "Bring rows and images to the data volume, straight from where they lie, once for each content")
def bring_dataset(config: RunConfig, compute: Compute) -> PlacedFiles:
    """Where the files lie on the data volume."""
    asked = config.dataset
    found = placed(asked.train, asked.held_out, asked.dev)
    return PlacedFiles(root=found.root, train=found.train, held_out=found.held_out, dev=found.dev)
