"""The lease of a training, a line of champions or a model: at most one holder.

``lease.json`` names the call that holds it. Who may take it is decided

- on one machine by the kernel: a lock on ``lease.lock``, freed with the holder's last process, so that a killed
  training gives the lease back at once, and one whose trainer still runs does not;
- between machines by a dictionary whose ``add`` is atomic (:mod:`sft.store.agreement`). The file is a second witness:
  where it names a call that runs, the lease is held whatever the dictionary has lost, and whoever comes puts back
  that call's entry; it never gives a lease.

Between machines each write that counts asks :meth:`Held.check` right before: a checkpoint's seal, a training's record,
a champion's pointer, a removal. What a holder writes is committed before it gives the lease back, and whoever takes it
sees that. If the commit fails, the lease is not given back: the end of the call frees it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sft.errors import LeaseHeld, TransientError
from sft.processes import repeating
from sft.store import agreement, records
from sft.store.agreement import Claim, Entries, Known

RENEWED = 5.0  # seconds between two heartbeats, on one machine
UNHEARD = 600.0  # seconds that a check tries to reach the dictionary before a result is given up
FILE = "lease.json"
LOCK = "lease.lock"


@dataclass(frozen=True)
class Shared:
    """How machines that share a volume agree.

    Attributes:
        refresh: shows what others have published.
        publish: shows others what was written here, and has done so when it returns.
        is_running: does that call still run? In doubt yes.
        entries: what decides.
    """

    refresh: Callable[[], None]
    publish: Callable[[], None]
    is_running: Callable[[str], bool]
    entries: Entries


@dataclass
class Held:
    """A lease that is held.

    Attributes:
        descriptors: what child processes must inherit, so that the kernel's lock outlives this process with them.
        fence: grows with each holder; 0 on one machine, where nobody can lose a lease.
        claim: how it is held between machines; None on one.
        lost: why it is held no longer, once a heartbeat has found that out.
    """

    descriptors: list[int] = field(default_factory=list)
    fence: int = 0
    claim: Claim | None = None
    lost: LeaseHeld | None = None

    def check(self, patience: float = UNHEARD) -> None:
        """To be asked right before a write that counts.

        Args:
            patience: seconds that it is tried for; 0 where the write can wait for another time.
        Raises:
            LeaseHeld: it was lost; ``value`` is the new holder's call.
            TransientError: for so long, nobody could say.
        """
        self.told()
        if self.claim is not None:
            try:
                agreement.patient(self.claim.check, patience)
            except LeaseHeld as lost:
                self.lost = lost
                raise

    def told(self) -> None:
        """Raise LeaseHeld if a heartbeat has found that the lease is lost; asks nobody."""
        if self.lost is not None:
            raise self.lost

    def beat(self) -> None:
        """Give a sign of life. What cannot be told now is told the next time: nobody takes a running call's lease."""
        if self.claim is not None and self.lost is None:
            try:
                self.claim.beat()
            except LeaseHeld as lost:
                self.lost = lost
            except TransientError:
                pass


def holder(folder: Path) -> dict[str, Any] | None:
    """Who holds the lease, by its file: ``{"call_id", "heartbeat"}`` (Unix time in seconds), or None.

    Between machines also ``fence``, ``chain`` and ``token`` of its claim (see :class:`sft.store.agreement.Known`).
    """
    lease = records.read_json(folder / FILE)
    return lease if isinstance(lease, dict) else None


def is_held(folder: Path, call_id: str, shared: Shared | None = None) -> bool:
    """Does another call than ``call_id`` hold the lease, and still run? What a killed holder has left is no lease.

    By the file alone: cheap, good for a report. Who is going to write takes the lease.
    """
    lease = holder(folder)
    if lease is None or lease.get("call_id") == call_id:
        return False
    if shared is not None:
        return shared.is_running(str(lease.get("call_id", "")))
    try:
        os.close(_lock(folder))
    except LeaseHeld:
        return True
    return False


@contextmanager
def hold(folder: Path, call_id: str, shared: Shared | None = None) -> Iterator[Held]:
    """Hold the lease of ``folder`` while the block runs. Between machines, the block sees what the last holder wrote.

    Args:
        shared: how to agree with other machines; None where all callers are on this one.
    Raises:
        LeaseHeld: another call holds it; ``value`` is that call's id.
        TransientError: other machines cannot be reached.
    """
    with _alone(folder, call_id) if shared is None else _agreed(folder, call_id, shared) as held:
        yield held


@contextmanager
def _alone(folder: Path, call_id: str) -> Iterator[Held]:
    descriptor = _lock(folder)
    try:
        _write(folder, call_id)
        try:
            with repeating(RENEWED, lambda: _write(folder, call_id)):
                yield Held([descriptor])
        finally:
            (folder / FILE).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextmanager
def _agreed(folder: Path, call_id: str, shared: Shared) -> Iterator[Held]:
    def known() -> Known:
        lease = holder(folder) or {}
        texts = {name: str(lease.get(name, "")) for name in ("chain", "call_id", "token")}
        return Known(int(lease.get("fence", 0)), **texts)

    claim = Claim(shared.entries, str(folder), call_id, shared.is_running, known=known)
    held = Held(fence=claim.take(), claim=claim)
    mine = False  # does the file name us?
    with repeating(agreement.BEAT, held.beat):
        try:
            shared.refresh()  # what the last holder has published before it gave the lease back
            if is_held(folder, call_id, shared):
                raise _held(folder)  # the dictionary has lost an entry
            mine = True
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder, call_id, fence=held.fence, chain=claim.chain, token=claim.token)
            shared.publish()
            yield held
        finally:
            with suppress(LeaseHeld, TransientError):  # the end of the call gives it back
                agreement.patient(claim.check, agreement.QUIET)
                if mine:
                    (folder / FILE).unlink(missing_ok=True)
                    shared.publish()  # may take as long as its data; the heartbeats go on
                claim.release()


def _lock(folder: Path) -> int:
    """The descriptor of the lock, taken: of the file that lies there, not of one that was removed meanwhile."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # somebody has removed the folder in between
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), (folder / LOCK).stat()):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise _held(folder) from None
        os.close(descriptor)


def _held(folder: Path) -> LeaseHeld:
    lease = holder(folder) or {}
    call = str(lease.get("call_id", ""))
    return LeaseHeld("another call trains this already", where=str(folder), value=call, remedy=f"attach to call {call}")


def _write(folder: Path, call_id: str, **claimed: int | str) -> None:
    if folder.is_dir():  # not where its holder removes it
        records.write_json(folder / FILE, {"call_id": call_id, "heartbeat": time.time(), **claimed})
