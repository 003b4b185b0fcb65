"""The entries of leases in a ``modal.Dict``: see :mod:`sft.store.agreement`.

``Dict.put(…, skip_if_exists=True)`` is one request (DictUpdate with if_not_exists, modal/dict.py of 1.6.4), and Modal
says that it is meant for locks between containers, of which exactly one gets it (modal.com/blog/cache-dict-launch). An
entry expires after 7 days without a read or write. The client repeats a request that was cut: of an ``add`` that worked
the first time it may then tell False, which :class:`sft.store.agreement.Claim` expects.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import modal
from modal.exception import NotFoundError

from modal_infra.names import LEASES
from sft.errors import TransientError
from sft.store.agreement import Entry

PATIENCE = 8.0  # seconds that one request is tried for, besides the client's own tries
T = TypeVar("T")


def leases() -> modal.Dict:
    """The Dict; it is looked up when it is first used, and made if missing."""
    return modal.Dict.from_name(LEASES, create_if_missing=True)


class DictEntries:
    """See :class:`sft.store.agreement.Entries`. Keys are texts and values plain data: every Python reads them."""

    def __init__(self) -> None:
        self._dict = leases()

    def add(self, key: str, value: Entry) -> bool:
        """Put it unless the key is there."""
        return self._tried(lambda: bool(self._dict.put(key, value, skip_if_exists=True)))

    def get(self, key: str) -> Entry | None:
        """What is there."""
        found: Any = self._tried(lambda: self._dict.get(key))
        return found if isinstance(found, dict) else None

    def put(self, key: str, value: Entry) -> None:
        """Put it whatever is there."""
        self._tried(lambda: self._dict.put(key, value))

    def remove(self, key: str) -> None:
        """It is not there afterwards."""
        self._tried(lambda: self._dict.pop(key, None))

    def _tried(self, act: Callable[[], T]) -> T:
        end, wait = time.monotonic() + PATIENCE, 0.25
        while True:
            try:
                return act()
            except (modal.exception.Error, OSError) as error:
                if isinstance(error, NotFoundError):
                    self._dict = leases()  # somebody has deleted it: the next one is empty
                if time.monotonic() + wait > end:
                    text = f"Modal cannot be asked who holds a lease: {error}"
                    remedy = "run again: whatever was begun is known by its call"
                    raise TransientError(text, where=f"dict {LEASES}", remedy=remedy) from error
            time.sleep(wait)
            wait *= 2
