"""What Python meets in a container of the stand-in for Modal, besides its mounts.

Volumes of version 1 have no hard links (modal.com/docs/guide/volumes: "Volumes v2 supports hard-linking of files"), and
``statvfs`` gives "placeholder values" for them (same page, "Disk usage reporting"): zeros here, which whoever trusts
them takes for a full disk. A container's clock is its machine's: ``STAND_IN_CLOCK`` (s) sets it apart.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any

VOLUMES = ("/data", "/models", "/outputs")


def _on_volume(path: Any) -> bool:
    return os.path.realpath(os.fspath(path)).startswith(VOLUMES) if not isinstance(path, int) else False


def _apart() -> None:
    link, statvfs, clock = os.link, os.statvfs, time.time

    def refused(source: Any, target: Any, **named: Any) -> None:
        if _on_volume(target):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), os.fspath(target))
        link(source, target, **named)

    def placeholder(path: Any) -> os.statvfs_result:
        return os.statvfs_result([4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255]) if _on_volume(path) else statvfs(path)

    os.link = refused  # type: ignore[assignment]
    os.statvfs = placeholder
    if shift := float(os.environ.get("STAND_IN_CLOCK", "0")):
        time.time = lambda: clock() + shift


_apart()
