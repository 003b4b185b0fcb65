"""Step bring-dataset: rows and images that lie elsewhere come to the data volume where the job runs, once."""

from __future__ import annotations

from compute.base import Compute
from runs.placed import bring_args
from sft.config import RunConfig
from sft.dataset.elsewhere import placed
from sft.jobs.scan_rows import PlacedFiles
from sft.store import records
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell


@step("bring-dataset", "Bring rows and images to the data volume, straight from where they lie, once for each content")
def bring_dataset(config: RunConfig, compute: Compute) -> PlacedFiles:
    """Where the files lie on the data volume; those that lie there already stay where they are.

    Raises:
        DatasetError, InputError: the source cannot be used, or may not be read.
        TransientError: it cannot be reached; what has arrived is kept.
    """
    if config.dataset.placed == "volume":
        found = placed(config.dataset.train, config.dataset.held_out, config.dataset.dev)
        return PlacedFiles(root=found.root, train=found.train, held_out=found.held_out, dev=found.dev)
    args = bring_args(config, compute.entries("data")).model_dump()
    named = {key: value for key, value in args.items() if key != "there"}  # a run that is started again attaches
    answer = run_job(compute, f"bring-{records.fingerprint(named)[:16]}", "bring_dataset", args)
    told = "fetched" if answer["fetched"] else "the same content is on the data volume already"
    tell(f"dataset {answer['root']}: {told}")
    return PlacedFiles.model_validate({key: answer[key] for key in PlacedFiles.model_fields})
