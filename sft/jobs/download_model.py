"""Job ``download_model``: the base model on the models volume, once, verified."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.errors import IntegrityError
from sft.jobs.base import Job
from sft.smoke import tiny
from sft.store import contents, records
from sft.store.contents import Base

LEASES = ".leases"  # on the models volume: a folder for each model that was ever fetched there


class DownloadModelArgs(BaseModel):
    """``source`` is hub or tiny; ``repo`` and ``revision`` name a repository on the HF Hub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    repo: str
    revision: str

    @property
    def folder(self) -> str:
        """Name of the folder on the models volume."""
        return model_folder(self.source, self.repo, self.revision)


def model_folder(source: str, repo: str, revision: str) -> str:
    """Name of a base model's folder on the models volume: another revision is another folder."""
    if source == "tiny":
        return f"PaddleOCR-VL-tiny@{tiny.version()[:12]}"
    return f"{repo.replace('/', '--')}@{revision.replace('/', '--')[:40]}"


def download_model(args: DownloadModelArgs, context: Context) -> Mapping[str, object]:
    """Put the model into ``/models/NAME`` unless its record is there already.

    Returns: the record: name, source, repo, revision, files (a manifest), identity (hash of the manifest).
    Raises:
        IntegrityError: the folder exists with a record, but files are missing or of another size.
        LeaseHeld: another call fetches the same model.
        InputError, TransientError: see :func:`sft.models.hub.fetch_snapshot`.
    """
    final = context.volumes.models / args.folder
    record = contents.base(final)
    if record is not None:
        if broken := records.broken_files(final, record["files"], content=False):
            raise IntegrityError(
                "the base model is damaged",
                where=str(final),
                value="; ".join(broken[:3]),
                remedy="remove that folder and run again: it is fetched anew",
            )
        return {**record, "fetched": False}
    with context.lease(context.volumes.models / LEASES / args.folder) as held:
        if (record := contents.base(final)) is not None:  # fetched while this call waited
            return {**record, "fetched": False}
        # A stable name: a download that was cut goes on from the files that have arrived.
        temporary = final.with_name(f".{final.name}.partial")
        shutil.rmtree(final, ignore_errors=True)  # without a record it was never finished
        revision = _fetch(args, temporary, context)
        record = _describe(args, temporary, revision)
        held.check()
        temporary.rename(final)
        records.sync_folder(final.parent)
        records.write_record(final, record)
        context.commit()
    return {**record, "fetched": True}


def _fetch(args: DownloadModelArgs, folder: Path, context: Context) -> str:
    """Fetch the files and return the revision that they are of."""
    if args.source == "tiny":
        shutil.rmtree(folder, ignore_errors=True)
        tiny.materialise(folder)
        return tiny.version()
    from sft.models.hub import fetch_snapshot

    return fetch_snapshot(args.repo, args.revision, folder, say=lambda text: context.event("note", text=text))


def _describe(args: DownloadModelArgs, folder: Path, revision: str) -> Base:
    files = records.manifest(folder)
    return {
        "name": args.folder,
        "source": args.source,
        "repo": args.repo if args.source == "hub" else "",
        "revision": revision,
        "identity": records.manifest_hash(files),
        "files": files,
        "finished": time.time(),
    }


DOWNLOAD_MODEL = Job("download_model", DownloadModelArgs, download_model)
