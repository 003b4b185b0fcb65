"""Doing something dear now and then: never more than a stated share of the time goes into it."""

from __future__ import annotations

import time
from collections.abc import Callable

SHARE = 0.05  # of the time, at most
LEAST = 1.0  # seconds between the end of one and the start of the next, at least


class Sparingly:
    """A call of it calls ``body``, unless the last call was too short a while ago.

    The wait counts from the end of the last call and follows from how long that took: a commit of a volume takes as
    long as its data, and one that was measured from its start could be due again the moment it ends.

    Example: after a call that took 3 s, the next that does something comes 57 s later at the soonest.
    """

    def __init__(
        self,
        body: Callable[[], None],
        *,
        share: float = SHARE,
        least: float = LEAST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._body, self._share, self._least, self._clock = body, share, least, clock
        self._due = clock() + least

    def __call__(self) -> bool:
        """Was it time?"""
        began = self._clock()
        if began < self._due:
            return False
        self._body()
        ended = self._clock()
        self._due = ended + max(self._least, (ended - began) * (1 - self._share) / self._share)
        return True
