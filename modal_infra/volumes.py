"""The three persistent volumes and where containers mount them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import modal

from sft.store.volumes import NAMES, Volumes

PREFIX = "paddleocr-vl-"
MOUNTED = Volumes.below(Path("/"))


def volume(name: str) -> modal.Volume:
    """The volume ``data``, ``models`` or ``outputs``; it is looked up when it is first used, and made if missing."""
    return modal.Volume.from_name(PREFIX + name, create_if_missing=True)


VOLUMES: dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount] = {f"/{name}": volume(name) for name in NAMES}
