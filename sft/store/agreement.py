"""Who holds a lease, agreed upon by machines that share nothing but a dictionary whose ``add`` is atomic.

A lease is a chain of numbered entries. Whoever wants it adds the entry behind the last one, which only one can; the
last entry's writer holds the lease, and its number, which grows with each holder, is the fence. An entry is never
changed: what its holder does later (a beat now and then, the release) is said under a key of the holder's own.

PLACE                 the chain's root: ``{"chain": its name, "base": the first number}``, added by whoever finds none
PLACE#CHAIN#NUMBER    one holder: ``{"call_id", "token"}``; the token tells apart two machines that have one call's id
PLACE@TOKEN           what that holder says of itself: ``{"beat": count, "released": bool}``

A holder is gone if it said so; or if its call has ended and it has been quiet for :data:`QUIET` (a cancelled container
may still write); or, of the asker's own call (an input that was started again elsewhere, another input of a ``.map``),
if it was quiet for :data:`SILENT`. Quiet is counted by the asker's clock alone; nothing is read off another's clock,
and nothing depends on when a file of another machine becomes visible.

What a dictionary loses: entries that nobody reads or writes for days expire, which a holder's beats prevent; all of
them may be cleared by hand. A holder that finds its entry gone puts it back, by ``add``; and so does whoever comes, of
a holder that is known from elsewhere (:class:`Known`): a second holder would else write while the first one is in the
middle of a check, of which it has read a part before the loss. Where another was faster, the lease is lost and its
holder is told so, and where it finds a root which is not its own.

What remains possible: a write that was begun right behind a check may end after the next holder has begun, if the
machine sleeps in between; and a holder that sleeps through two losses of the dictionary may believe again what was
taken from it before. The first needs a call that has ended, or a machine of the same call, to write on for more than
QUIET or SILENT; a volume has no conditional write that would rule it out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sft.errors import LeaseHeld, TransientError

BEAT = 3.0  # seconds between two signs of life
QUIET = 5.0  # seconds without one, after which the machine of a call that has ended is gone
SILENT = 30.0  # … after which another machine of the asker's own call is gone
PATIENT = 120.0  # seconds that another machine of the asker's own call is waited for
LOOK = 0.5  # seconds between two looks at a sign of life
LONG = 16  # entries of a chain, from which on the next holder begins a new one

Entry = dict[str, Any]


class Entries(Protocol):
    """A dictionary that machines share; values are plain data. Each may raise TransientError: it cannot be reached."""

    def add(self, key: str, value: Entry) -> bool:
        """Put it unless the key is there, atomically: of all who add it, at most one is told True."""

    def get(self, key: str) -> Entry | None:
        """What is there, as of now: never older than an ``add`` or ``put`` that has returned to anyone."""

    def put(self, key: str, value: Entry) -> None:
        """Put it whatever is there."""

    def remove(self, key: str) -> None:
        """It is not there afterwards."""


@dataclass(frozen=True)
class Known:
    """A holder as something else than the dictionary tells of it: its number, chain and entry. Without a chain nothing
    is known but that numbers up to this one were there.
    """

    number: int = 0
    chain: str = ""
    call_id: str = ""
    token: str = ""

    @property
    def entry(self) -> Entry:
        """What its holder added to the dictionary."""
        return {"call_id": self.call_id, "token": self.token}


class Claim:
    """One machine's claim to the lease of ``place``.

    ``number`` is the fence while it is held.

    Args:
        is_running: does that call still run? In doubt yes.
        known: a holder that is known of from elsewhere and has not given the lease back.
        clock, sleep: in seconds; for tests.
    """

    def __init__(
        self,
        entries: Entries,
        place: str,
        call_id: str,
        is_running: Callable[[str], bool],
        *,
        known: Callable[[], Known] = Known,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._entries, self._place, self._is_running, self._known = entries, place, is_running, known
        self._clock, self._sleep = clock, sleep
        self._me: Entry = {"call_id": call_id, "token": secrets.token_hex(8)}
        self._chain, self._base = "", 0
        self._beats, self._released = 0, False
        self.number = 0

    @property
    def chain(self) -> str:
        """The name of the chain whose entry :attr:`number` is this claim's."""
        return self._chain

    @property
    def token(self) -> str:
        """Tells this claim apart from all others."""
        return str(self._me["token"])

    def take(self) -> int:
        """Hold the lease; returns the fence: it grows with each holder.

        Raises:
            LeaseHeld: another call holds it; ``value`` is that call's id.
            TransientError: the dictionary cannot be reached. What it was told before is undone by the call's end.
        """
        self._say()
        while True:
            known = self._known()
            root = self._entries.get(self._place) or self._begin(self._root(known))
            number, last = self._end_of(root)
            if last == self._me:
                self._chain, self._base, self.number = root["chain"], root["base"], number - 1
                return self.number
            if (root["chain"], number) == (known.chain, known.number):
                self._entries.add(self._key(known.chain, number), known.entry)  # it was lost
                continue
            if last is not None:
                self._wait_until_gone(last)
            self._entries.add(self._key(root["chain"], number), self._me)  # the next look says whose it is

    def check(self) -> None:
        """Is the lease still held here? To be asked right before each write that counts.

        Raises:
            LeaseHeld: another call has it now; ``value`` is that call's id, or empty.
            TransientError: the dictionary cannot be reached.
        """
        for _ in range(2):
            root = self._entries.get(self._place) or self._begin({"chain": self._chain, "base": self.number})
            number, last = self._end_of(root)
            if last == self._me:
                return
            if (root["chain"], number) != (self._chain, self.number):
                break
            self._entries.add(self._key(self._chain, number), self._me)  # it was lost, and nobody has come since
        raise self._held(last, "the lease was lost to another call, while this one could not be heard of")

    def beat(self) -> None:
        """Give a sign of life, until it is given back. Raises as :meth:`check`."""
        if self._released:
            return
        self._beats += 1
        self._say()
        self.check()

    def release(self) -> None:
        """Give it back; nothing where it is lost. Raises TransientError: the call's end will do it."""
        try:
            self.check()
        except LeaseHeld:
            return
        if self.number - self._base >= LONG:
            self._entries.remove(self._place)  # the next holder begins a new chain: each look reads a whole one
        self._released = True
        self._say()

    def _say(self) -> None:
        said = {"beat": self._beats, "released": self._released}
        self._entries.put(f"{self._place}@{self.token}", said)

    def _root(self, known: Known) -> Entry:
        """The known holder's chain, or a new one: beyond the numbers of an earlier one."""
        if known.chain:
            return {"chain": known.chain, "base": known.number}
        return {"chain": self.token, "base": max(int(time.time()), known.number + 1)}

    def _begin(self, root: Entry) -> Entry:
        self._entries.add(self._place, root)
        return self._entries.get(self._place) or root

    def _key(self, chain: str, number: int) -> str:
        return f"{self._place}#{chain}#{number}"

    def _end_of(self, root: Entry) -> tuple[int, Entry | None]:
        """(the number that is free, the entry before it)."""
        number, last = int(root["base"]), None
        while (entry := self._entries.get(self._key(root["chain"], number))) is not None:
            number, last = number + 1, entry
        return number, last

    def _wait_until_gone(self, other: Entry) -> None:
        mine, began = other["call_id"] == self._me["call_id"], self._clock()
        heard, since = self._heard(other), began
        while not heard.get("released"):
            if not mine and self._is_running(str(other["call_id"])):
                raise self._held(other)
            now = self._clock()
            if now - since >= (SILENT if mine else QUIET):
                return
            if now - began >= PATIENT:
                raise self._held(other)
            self._sleep(LOOK)
            latest = self._heard(other)
            if latest != heard:
                heard, since = latest, self._clock()

    def _heard(self, other: Entry) -> Entry:
        return self._entries.get(f"{self._place}@{other['token']}") or {}

    def _held(self, other: Entry | None, text: str = "another call trains this already") -> LeaseHeld:
        call = str((other or {}).get("call_id", ""))
        remedy = f"attach to call {call}" if call else "run again"
        return LeaseHeld(text, where=self._place, value=call, remedy=remedy)


def patient(body: Callable[[], None], seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Call it until it is heard, at most for so many seconds: then its TransientError counts, and LeaseHeld at once."""
    end, wait = time.monotonic() + seconds, 0.25
    while True:
        try:
            return body()
        except LeaseHeld:
            raise
        except TransientError:
            if time.monotonic() + wait > end:
                raise
        sleep(wait)
        wait = min(2 * wait, 5.0)
