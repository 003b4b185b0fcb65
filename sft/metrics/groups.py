"""Parts of the held-out set that are scored by themselves: by task, script and length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LENGTHS = (10, 50, 200, 1000)  # characters: upper bounds of the classes of length


def length(text: str) -> str:
    """The class of length: "1-10", "11-50", "51-200", "201-1000", "over 1000" characters."""
    start = 1
    for end in LENGTHS:
        if len(text) <= end:
            return f"{start}-{end}"
        start = end + 1
    return f"over {LENGTHS[-1]}"


def rows_of(names: Iterable[str]) -> dict[str, Sequence[int]]:
    """Name → numbers of its rows, the names sorted; lengths in their order."""
    found: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        found.setdefault(name, []).append(number)
    return {name: found[name] for name in sorted(found, key=_order)}


def _order(name: str) -> tuple[int, str]:
    start = name.partition("-")[0]
    return (int(start), "") if start.isdigit() else (10**9, name)
