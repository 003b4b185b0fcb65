"""The three persistent volumes, where containers mount them, and their commits and reloads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import modal

from sft.errors import TransientError
from sft.store.volumes import NAMES, Volumes

PREFIX = "paddleocr-vl-"
# Seconds that a refused commit or reload is tried again for: a result is worth a while; a container that is taken away
# has 30 s for all that it still does, and what is refused in the middle of a training the next commit takes with it.
PATIENCE, BRIEF = 300.0, 8.0
LONGEST_WAIT = 15.0  # seconds between two tries
OPEN = "there are open files"  # Modal's words where it refuses a reload (modal/volume.py, 1.6.4)
MOUNTED = Volumes.below(Path("/"))


def volume(name: str) -> modal.Volume:
    """The volume ``data``, ``models`` or ``outputs``; it is looked up when it is first used, and made if missing."""
    return modal.Volume.from_name(PREFIX + name, create_if_missing=True)


VOLUMES: dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount] = {f"/{name}": volume(name) for name in NAMES}


def refresh() -> None:
    """Show what other containers have committed.

    Raises:
        TransientError: Modal refuses it for longer than :data:`BRIEF`, as a file of a volume is open in here.
    """
    _with_each(lambda each: each.reload(), BRIEF)


def commit(patience: float = PATIENCE, names: Sequence[str] = NAMES) -> None:
    """Make what was written durable and visible to others.

    Args:
        patience: seconds that a refused one is tried again for.
        names: of the volumes.
    Raises:
        TransientError: Modal refuses it for longer.
    """
    _with_each(_commit, patience, names)


def _commit(each: modal.Volume) -> None:
    """The client may reload behind a commit (the server says whether). That is refused while a file is open; the commit
    has been done then: the client asks for it first, and open files are no reason to refuse one.
    """
    try:
        each.commit()
    except RuntimeError as error:
        if OPEN not in str(error):
            raise


def _with_each(act: Callable[[modal.Volume], None], patience: float, names: Sequence[str] = NAMES) -> None:
    """Do it with every volume, also where one refuses; what fails is tried again while there is patience."""
    end, wait = time.monotonic() + patience, 0.25
    left: dict[str, Exception] = dict.fromkeys(names, Exception())
    while True:
        for mounted in list(left):
            try:
                act(volume(mounted))
                del left[mounted]
            except (RuntimeError, modal.exception.Error) as error:  # RuntimeError: what the client makes of a conflict
                left[mounted] = error
        if not left:
            return
        if time.monotonic() + wait > end:
            mounted, refusal = next(iter(left.items()))
            remedy = "run again: a new container has no file open; sft deploy ends those that wait for work"
            text = f"Modal refuses the volume: {refusal}"
            raise TransientError(text, where=f"volume {mounted}", remedy=remedy) from refusal
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
