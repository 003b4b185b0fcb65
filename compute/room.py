"""How many files a volume of Modal takes: looked at before they are sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import modal
from modal.exception import InvalidError, NotFoundError

from compute.reach import translated
from modal_infra.volumes import PREFIX
from sft.errors import ComputeError
from sft.store.shards.choosing import FILES_ADVISED, FILES_MOST

ROOM = (
    f"let images be packed (dataset.pack=always); remove old sets (modal volume ls {PREFIX}data datasets, then modal "
    "volume rm -r); or make that volume anew without the bound, what it needs is sent again: modal volume delete "
    f"{PREFIX}data, modal volume create {PREFIX}data --version 2, sft deploy"
)


def has_no_bound(name: str) -> bool:
    """Is the volume there and of version 2? A missing one will be made of version 1."""
    with translated(f"volume {name}"):
        try:
            modal.Volume.from_name(PREFIX + name, version=2).hydrate()
        except (NotFoundError, InvalidError):
            return False
    return True


def _entries(paths: Sequence[str]) -> set[str]:
    """The files and all folders above them."""
    found = set(paths)
    for folder in {path.rpartition("/")[0] for path in paths}:
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def entries(paths: Sequence[str]) -> int:
    """How many files and folders a volume has with these files."""
    return len(_entries(paths))


def check(name: str, new: Sequence[str], there: Sequence[str], say: Callable[[str], None]) -> None:
    """Count files and folders against what a volume of version 1 takes.

    Args:
        new: paths that are to be sent.
        there: paths of the files that lie there.
        say: hears it if they are so many that the volume gets slow.
    Raises:
        ComputeError: they are more than it takes.
    """
    count = len(_entries(new) | _entries(there))
    if count <= FILES_ADVISED:
        return
    counts = f"{count:,} files and folders, {len(new):,} of them new"
    if count <= FILES_MOST:
        say(f"the volume {PREFIX}{name} gets slow to attach with {counts} ({FILES_ADVISED:,} are advised): {ROOM}")
        return
    rule, where = f"a volume takes {FILES_MOST:,} files and folders", f"volume {PREFIX}{name}"
    raise ComputeError(rule, where=where, value=counts, remedy=ROOM)
