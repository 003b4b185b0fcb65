"""Steps bring-dataset and bring-rows: what lies elsewhere comes to the data volume where the job runs, once."""

from __future__ import annotations

from typing import Any

from compute.base import Compute
from runs.placed import bring_args, bring_one_args, on_volume
from sft.config import RunConfig
from sft.dataset.elsewhere import kind_of, one_set
from sft.jobs.bring_dataset import BringArgs
from sft.jobs.scan_rows import PlacedFiles, PlacedSet
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
        return on_volume(config)
    answer = _brought(bring_args(config, _there(config, compute)), compute, "dataset")
    return PlacedFiles.model_validate({key: answer[key] for key in ("root", "train", "held_out", "dev")})


@step("bring-rows", "Bring one set of rows to the data volume, straight from where it lies, once for each content")
def bring_rows(config: RunConfig, compute: Compute, address: str) -> PlacedSet:
    """The same of a single set.

    Raises:
        DatasetError, InputError, TransientError: see :func:`bring_dataset`.
    """
    if kind_of(address) == "volume":
        found = one_set(address)
        return PlacedSet(root=found.root, file=found.file)
    answer = _brought(bring_one_args(config, address, _there(config, compute)), compute, "rows")
    return PlacedSet(root=answer["root"], file=answer["train"])


def _there(config: RunConfig, compute: Compute) -> int | None:
    """Files and folders on the data volume, where they decide anything: to count them all of it is listed."""
    return None if config.dataset.pack == "always" else compute.entries("data")


def _brought(args: BringArgs, compute: Compute, what: str) -> dict[str, Any]:
    named = args.model_dump(exclude={"there"})  # a run that is started again attaches, whatever the volume has by then
    answer = run_job(compute, f"bring-{records.fingerprint(named)[:16]}", "bring_dataset", args.model_dump())
    told = "fetched" if answer["fetched"] else "the same content is on the data volume already"
    tell(f"{what} {answer['root']}: {told}")
    return answer
