"""Modal's volumes (version 1) for the stand-in server: what a container sees, and what reaches others.

By Modal's guide (modal.com/docs/guide/volumes, read November 2026) and the client's source (1.6.4, modal/volume.py,
modal/_runtime/task_lifecycle_manager.py):

- "At container creation time the latest state of an attached Volume is mounted"; what others commit afterwards is seen
  after a reload; what is written here reaches others, and the client's own listing and reading, by a commit.
- Commits are explicit, or in the background "every few seconds", of "a snapshot", and once more at the container's end
  (the entrypoint asks for it, and the machine does it). What dies with its machine was not committed.
- "Last write wins in case of concurrent modification of the same file."
- "You can only reload a Volume when there no open files on the Volume": FAILED_PRECONDITION with "there are open files
  preventing the operation" (the client looks for this text). Here the kernel decides: the mount is busy or it is not,
  by a working directory too.
- "While a reload is in progress the Volume will appear empty to the container that initiated the reload."
- "Any uncommitted changes … may implicitly be committed when reloading" (docstring of ``reload``): both ways are had.
- ``commit`` reloads afterwards unless the server's answer says ``skip_reload``: both ways are had.
- Hard links exist in version 2 alone; statvfs gives "placeholder values" ("Disk usage reporting"): see
  tests/support/container/sitecustomize.py.

A container's view is an overlay in a mount namespace of its own, over a snapshot of the committed state. A snapshot is
made of hard links, so nothing may change a committed file in place: a commit replaces it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from grpclib import GRPCError, Status

BUSY = "volume busy: there are open files preventing the operation"
Entry = tuple[str, int, int]  # kind, size in bytes, time of its last change in ns


@dataclass
class Rules:
    """How the volumes behave, where Modal leaves it open or where a test wants it slow.

    Attributes:
        commit_seconds: how long a commit with something in it takes; others see it at its end.
        reload_seconds: how long a volume appears empty.
        background: seconds between two commits in the background; None for none.
        reload_after_commit: does the answer to a commit leave the reload to the client?
        reload_drops: is what was not committed gone after a reload?
    """

    commit_seconds: float = 0.0
    reload_seconds: float = 0.0
    background: float | None = 3.0
    reload_after_commit: bool = False
    reload_drops: bool = False


class Stored:
    """The committed state of a volume."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock = folder, threading.RLock()

    def snapshot(self, target: Path) -> None:
        """The state as of now, in hard links."""
        with self.lock:
            subprocess.run(["cp", "--archive", "--link", f"{self.folder}/.", str(target)], check=True)

    def write(self, path: str, content: bytes) -> None:
        """A file that the client uploads."""
        with self.lock:
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".uploaded-{threading.get_ident()}")
            temporary.write_bytes(content)
            temporary.replace(target)

    def files(self) -> set[str]:
        """All its files."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}


class View:
    """One volume as one container sees it.

    Args:
        place: a folder on this machine's disk for what the overlay needs.
        mount: where the container has it.
        freezing: the container's lock: one of its volumes is looked at at a time, else the end of one look would let
            the processes work under another.
    """

    def __init__(self, stored: Stored, place: Path, mount: str, rules: Rules, freezing: threading.Lock) -> None:
        self._stored, self._place, self._mount, self._rules = stored, place, mount, rules
        self._freezing = freezing
        self._base: dict[str, Entry] = {}
        self._number = 0
        self._lock = threading.Lock()  # one commit or reload of a container's volume at a time

    def mounting(self) -> str:
        """The shell command that mounts the committed state of now."""
        self._number += 1
        place = self._place / str(self._number)
        for part in ("lower", "upper", "work"):
            (place / part).mkdir(parents=True)
        self._stored.snapshot(place / "lower")
        self._base = _listed(place / "lower")
        layers = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work,redirect_dir=on"
        return f"mkdir -p {self._mount} && mount -t overlay overlay -o {layers} {self._mount}"

    def commit(self, holder: int) -> bool:
        """Bring to others what was changed here; False where nothing was.

        Args:
            holder: a process in the container's mount namespace.
        """
        with self._lock:
            return self._commit(holder)

    def _commit(self, holder: int) -> bool:
        root, staged = Path(f"/proc/{holder}/root{self._mount}"), self._place / "staged"
        shutil.rmtree(staged, ignore_errors=True)
        with self._freezing, _frozen(holder):
            seen = _listed(root)
            changed = [path for path, entry in seen.items() if self._base.get(path) != entry]
            gone = [path for path in self._base if path not in seen]
            for path in changed:
                _copy(root / path, staged / path)
            if not os.path.ismount(root):  # the container is gone, and with it what was seen of its mount
                return False
        if not changed and not gone:
            return False
        time.sleep(self._rules.commit_seconds)
        with self._stored.lock:
            for path in sorted(gone, reverse=True):
                _remove(self._stored.folder / path)
            for path in sorted(changed):
                _place_at(staged / path, self._stored.folder / path)
        self._base = seen
        return True

    def reload(self, holder: int) -> None:
        """Show what others have committed.

        Raises:
            GRPCError: a file of the volume is open in the container, or a process works in it.
        """
        with self._lock:
            if not self._rules.reload_drops:
                self._commit(holder)
            if _inside(holder, f"umount {self._mount}").returncode:
                raise GRPCError(Status.FAILED_PRECONDITION, BUSY)
            time.sleep(self._rules.reload_seconds)
            mounted = _inside(holder, self.mounting())
            assert mounted.returncode == 0, mounted.stderr


def living(holder: int) -> list[psutil.Process]:
    """The other processes in a process's mount namespace: a container's."""
    with suppress(OSError):
        own = os.readlink(f"/proc/{holder}/ns/mnt")
        found = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError, psutil.NoSuchProcess):
                if int(name) != holder and os.readlink(f"/proc/{name}/ns/mnt") == own:
                    found.append(psutil.Process(int(name)))
        return found
    return []


@contextmanager
def _frozen(holder: int) -> Iterator[None]:
    """While the block runs the container's processes stand still: a commit is of a snapshot.

    Those that a test has stopped stay so.
    """
    stopped: list[psutil.Process] = []
    for process in living(holder):
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_STOPPED:
                process.suspend()
                stopped.append(process)
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def _inside(holder: int, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nsenter", "--mount", "--target", str(holder), "sh", "-c", command], capture_output=True, text=True
    )


def _listed(root: Path) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            info = path.lstat()
            if path.is_symlink():
                entry: Entry = (f"link to {path.readlink()}", 0, 0)
            else:
                entry = ("folder", 0, 0) if path.is_dir() else ("file", info.st_size, info.st_mtime_ns)
            found[path.relative_to(root).as_posix()] = entry
    return found


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        with suppress(OSError):  # others have written into it
            path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _place_at(staged: Path, target: Path) -> None:
    if staged.is_dir() and not staged.is_symlink():
        if not target.is_dir():
            target.unlink(missing_ok=True)
            target.mkdir(parents=True)
        return
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(target)
