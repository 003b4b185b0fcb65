"""A dictionary that machines share, in one process: see :class:`sft.store.agreement.Entries`."""

from __future__ import annotations

import threading

from sft.store.agreement import Entry


class Memory:
    """As the real one: ``add`` is atomic, and all see at once what was done."""

    def __init__(self) -> None:
        self.kept: dict[str, Entry] = {}
        self._lock = threading.Lock()

    def add(self, key: str, value: Entry) -> bool:
        with self._lock:
            return self.kept.setdefault(key, value) is value

    def get(self, key: str) -> Entry | None:
        return self.kept.get(key)

    def put(self, key: str, value: Entry) -> None:
        self.kept[key] = value

    def remove(self, key: str) -> None:
        self.kept.pop(key, None)
