"""The local adapter: a job is a detached process with a process group and a folder of its own.

The call folder holds request.json, lock, log.txt, heartbeat and result.json. The lock is inherited by the process and
held until it ends, however it ends: a free lock without a result means that the job died.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from compute.base import Billed, RemoteFile, Status
from sft.errors import ComputeError, JobCancelled, JobDied, from_wire
from sft.store import records
from sft.store.volumes import NAMES, Volumes

GRACE = 6.5  # seconds between SIGTERM and SIGKILL: a job that obeys has time to end its trainer
GONE = 3.0  # seconds that the kernel may take to end the processes after SIGKILL
PROJECT = Path(__file__).resolve().parents[1]


class LocalCompute:
    """See :class:`compute.base.Compute`.

    Args:
        state: the folder of all calls and of the three volumes.
        make: make these folders now; without, the first job or file does, so that a question leaves nothing behind.
    """

    name = "local"
    pace = 0.5

    def __init__(self, state: Path, *, make: bool = True) -> None:
        self.state = state.resolve()
        self.calls = self.state / "calls"
        self.volumes = Volumes.below(self.state / "volumes")
        if make:
            self._make()

    def _make(self) -> None:
        self.volumes.make()
        self.calls.mkdir(parents=True, exist_ok=True)

    def start(self, job: str, args: dict[str, Any]) -> str:
        """Write the request, take the lock, start the process; the lock passes to it without a gap."""
        call_id = f"{job}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
        folder = self.calls / call_id
        self._make()
        folder.mkdir()
        volumes = {name: str(getattr(self.volumes, name)) for name in NAMES}
        records.write_json(folder / "request.json", {"job": job, "args": args, "volumes": volumes})
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        try:
            with (folder / "log.txt").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "compute.local_process", str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[lock],
                    env={**environment, "SFT_LOCK": str(lock)},
                )
            records.write_text(folder / "pid", str(process.pid))
        except OSError as error:
            raise ComputeError(f"the job's process cannot be started: {error}", where=str(folder)) from error
        finally:
            os.close(lock)
        _CHILDREN[call_id] = process
        return call_id

    def poll(self, call_id: str) -> Status:
        """A result decides; without one, the lock tells whether a process still works on it."""
        folder = self.calls / call_id
        if not folder.is_dir():
            return Status("unknown")
        alive = _locked(folder / "lock")  # before the result is looked for: it may be written in between
        result = records.read_json(folder / "result.json")
        if alive and result is None:
            beat = folder / "heartbeat"
            return Status("running", time.time() - beat.stat().st_mtime if beat.exists() else None)
        _take_leave(call_id)
        if result is None:
            result = records.read_json(folder / "result.json")
        if result is None:
            return Status("cancelled" if (folder / "cancelled").exists() else "failed")
        if result.get("ok"):
            return Status("done")
        return Status("cancelled" if result["error"]["type"] == "JobCancelled" else "failed")

    def result(self, call_id: str) -> dict[str, Any]:
        """The job's result, or its error raised again."""
        folder = self.calls / call_id
        result = records.read_json(folder / "result.json")
        if result is not None and result.get("ok"):
            value: dict[str, Any] = result["value"]
            return value
        if result is not None:
            raise from_wire(result["error"])
        if (folder / "cancelled").exists():
            raise JobCancelled("the job was cancelled", where=call_id)
        tail = "\n".join((folder / "log.txt").read_text(errors="replace").splitlines()[-15:])
        raise JobDied(
            f"the job's process ended without a result; its last lines:\n{tail}\n",
            where=str(folder / "log.txt"),
            remedy="run again: finished steps are kept, and a training resumes from its newest checkpoint",
        )

    def logs(self, call_id: str, cursor: str) -> tuple[list[str], str]:
        """The cursor is an offset in bytes."""
        offset = int(cursor or 0)
        path = self.calls / call_id / "log.txt"
        if not path.exists():
            return [], cursor
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(1 << 20)
        whole = content.rfind(b"\n") + 1
        return content[:whole].decode("utf-8", "replace").splitlines(), str(offset + whole)

    def cancel(self, call_id: str, *, now: bool = False) -> None:
        """SIGTERM to the job's process, SIGKILL to its whole group after a grace."""
        folder = self.calls / call_id
        if self.poll(call_id).state != "running":
            return
        records.write_text(folder / "cancelled", "")
        group = self._group(call_id)
        if group is None:
            return
        if not now:
            # To the job alone: it asks its trainer to save, and a trainer that is asked twice may not.
            with contextlib.suppress(ProcessLookupError):
                os.kill(group, signal.SIGTERM)
        if now or not self._gone(call_id, GRACE):
            _signal_group(group, signal.SIGKILL)
            if not self._gone(call_id, GONE):
                raise ComputeError("the job's processes do not end", where=call_id, remedy=f"kill -9 -{group}")

    def _group(self, call_id: str) -> int | None:
        """The job's process group; none if the job has ended.

        Who started it may have been killed before writing it down: then the process does, within its first second.
        """
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                return int((self.calls / call_id / "pid").read_text())
            if not _locked(self.calls / call_id / "lock"):
                return None
            time.sleep(0.05)
        remedy = f"end it by hand: the process whose command line has {call_id}"
        raise ComputeError("the job's process does not say which it is", where=call_id, remedy=remedy)

    def _gone(self, call_id: str, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not _locked(self.calls / call_id / "lock"):
                _take_leave(call_id)
                return True
            time.sleep(0.05)
        return False

    def link(self, call_id: str) -> str:
        """The call's folder."""
        return str(self.calls / call_id)

    def dataset_root(self, folder: Path, fingerprint: str) -> str:
        """The folder itself: jobs on this machine read the rows where they lie."""
        return str(folder.resolve())

    def _path(self, volume: str, path: str) -> Path:
        root: Path = getattr(self.volumes, volume)
        target = (root / path).resolve()
        if not target.is_relative_to(root.resolve()):
            raise ComputeError("the path leaves the volume", where=volume, value=path)
        return target

    def read(self, volume: str, path: str) -> bytes | None:
        """The file's bytes."""
        try:
            return self._path(volume, path).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def list(self, volume: str, path: str) -> list[RemoteFile]:
        """Regular files, sorted by path."""
        root: Path = getattr(self.volumes, volume)
        start = len(str(root.resolve())) + 1
        files = [RemoteFile(name[start:], size) for name, size in _files(str(self._path(volume, path)))]
        return sorted(files, key=lambda file: file.path.split("/"))

    def get(self, volume: str, path: str, target: Path) -> str:
        """A copy of the file."""
        try:
            return records.write_hashed(records.blocks_of(self._path(volume, path)), target)
        except FileNotFoundError:
            raise ComputeError("no such file on the volume", where=volume, value=path) from None

    def put(self, volume: str, source: Path, path: str) -> None:
        """A copy of the file; written under a temporary name, then renamed."""
        target = self._path(volume, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(source, temporary)
        temporary.rename(target)

    def put_all(self, volume: str, files: Sequence[tuple[Path, str]]) -> None:
        """One after the other."""
        for source, path in files:
            self.put(volume, source, path)

    def check_room(self, volume: str, paths: Sequence[str], say: Callable[[str], None]) -> None:
        """A folder of this machine takes what its disk takes."""

    def entries(self, volume: str) -> int | None:
        """Its disk bounds them."""
        return None

    def remove(self, volume: str, path: str) -> None:
        """A file or a whole folder."""
        target = self._path(volume, path)
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def rates(self) -> dict[str, float]:
        """Nobody names any: what an hour of this machine costs stands in ``budget.prices``, under cpu."""
        return {}

    def billed(self, since: float, until: float) -> Sequence[Billed]:
        """Nobody bills this machine."""
        raise ComputeError("nobody bills this machine", where="compute local", remedy="use a profile of compute modal")


def _files(folder: str) -> Iterator[tuple[str, int]]:
    """(path, size) of regular files at any depth; quicker than ``Path.rglob``, and files may vanish meanwhile."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
            continue
        with contextlib.suppress(FileNotFoundError):
            if entry.is_file():
                yield entry.path, entry.stat().st_size


# Processes that this interpreter started, so that they can be waited for when they end.
_CHILDREN: dict[str, subprocess.Popen[bytes]] = {}


def _take_leave(call_id: str) -> None:
    """Wait for our own child, which has let go of its lock and is about to end: no zombie stays."""
    with contextlib.suppress(KeyError, subprocess.TimeoutExpired):
        _CHILDREN[call_id].wait(1)
        _CHILDREN.pop(call_id, None)


def _locked(path: Path) -> bool:
    """Is the lock held by a living process?"""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
