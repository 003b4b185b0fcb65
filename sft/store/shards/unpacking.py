"""Packed images as files, for programs that open paths (the trainers, the models' processors): only those that a job
needs, on the disk of the machine that it runs on, and only while it runs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sft.errors import InputError
from sft.store.shards.index import Place, is_packed
from sft.store.shards.reading import Packed

SPARE = 64 << 20  # bytes of the disk that are left to others
BLOCK = 4096  # bytes of the disk that a small file takes at least


class Unpacked:
    """Gives a path to each image; what is not packed keeps its own.

    ``count``, ``size`` (bytes) and ``seconds`` tell what was unpacked, and how long that took.

    Args:
        folder: made when it is first needed, removed by :meth:`close`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs: dict[str, Packed | None] = {}
        self._places: dict[str, str] = {}  # folder of the names → of the unpacked files that stand for them
        self.count = self.size = 0
        self.seconds = 0.0
        self._removed = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def paths(self, names: Sequence[str]) -> list[str]:
        """The file of each image, which is unpacked unless it was before.

        Args:
            names: absolute paths; a packed image need not lie there.
        Raises:
            InputError: the disk has no room for them.
            IntegrityError: a shard is torn.
        """
        wanted: dict[Packed, dict[Place, str]] = {}
        found: list[str] = []
        for name in names:
            path = os.path.normpath(name)
            pack = self._pack_of(os.path.dirname(path))
            place = pack.find(path) if pack is not None else None
            if pack is None or place is None:
                found.append(name)
                continue
            file = self._place(pack.root) + path[len(pack.root) :]
            found.append(file)
            if not os.path.exists(file):
                wanted.setdefault(pack, {})[place] = file
        for pack, places in wanted.items():
            self._take_out(pack, places)
        return found

    def name(self, path: Path) -> Path:
        """The name under which a file that :meth:`paths` gave is known to its dataset."""
        found = next((one for one in self._places.items() if path.is_relative_to(one[1])), None)
        return path if found is None else Path(found[0]) / path.relative_to(found[1])

    def _place(self, root: str) -> str:
        if root not in self._places:
            self._places[root] = str(self._folder / hashlib.sha256(os.fsencode(root)).hexdigest()[:16])
        return self._places[root]

    def _pack_of(self, folder: str) -> Packed | None:
        if folder not in self._packs:
            above = os.path.dirname(folder)
            own = is_packed(Path(folder))
            self._packs[folder] = Packed(folder) if own else self._pack_of(above) if above != folder else None
        return self._packs[folder]

    def _take_out(self, pack: Packed, places: dict[Place, str]) -> None:
        began = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        needed = sum(BLOCK * -(-place.size // BLOCK) for place in places)
        if needed + SPARE > (free := shutil.disk_usage(self._folder).free):
            raise InputError(
                "this machine's disk has no room for the packed images that the job needs",
                where=str(self._folder),
                value=f"{needed:,} bytes more, {free:,} are free; {self.size:,} are unpacked",
                remedy="train on less (dataset.part), or bring the set with dataset.pack=never: images stay files then",
            )
        made: set[str] = set()
        for place, content in pack.read_all(places):
            # Its name is the row's, below the folder of the pack: normalised, it has no "..", whatever the shard says.
            if (folder := os.path.dirname(places[place])) not in made:
                os.makedirs(folder, exist_ok=True)
                made.add(folder)
            with open(places[place], "wb") as file:
                file.write(content)
            self.size += len(content)
        self.count += len(places)
        self.seconds += time.monotonic() - began
        pack.close()

    def close(self) -> None:
        """Remove what was unpacked."""
        self._removed()


def abandoned(folder: Path) -> None:
    """Remove what processes of this machine that were killed have left in folders named PID-…"""
    for place in folder.glob("*-*") if folder.is_dir() else ():
        pid = place.name.partition("-")[0]
        if pid.isdigit() and not _lives(int(pid)):
            shutil.rmtree(place, ignore_errors=True)


def _lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(pid, 0)
        return True
    return False
