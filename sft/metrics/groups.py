"""Parts of the held-out set that are scored by themselves: by task, script and length."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

LENGTHS = (10, 50, 200, 1000)  # characters: upper bounds of the classes of length
_JAPANESE = {"Hira", "Kana"}
_SHARED = ("Zyyy", "Zinh", "Zzzz")  # characters of several scripts, or of none that is known


@lru_cache(maxsize=65536)
def _script(character: str) -> str:
    """The character's script by Unicode's property Script (Scripts.txt, as fontTools has it); empty for signs.

    What is shared between scripts, and signs made of letters, belong where their plain form does: ℓ, 𝑥 and № to Latin,
    ㈱ to Han; what is only written in Japanese, as ー, to that.
    """
    from fontTools import unicodedata as ucd

    if character.isdigit():
        return "digits"
    if ucd.script_extension(character) <= _JAPANESE and character.isalpha():
        return "Japanese"
    for plain in (character, *unicodedata.normalize("NFKC", character)):
        if plain.isalpha() and (code := ucd.script(plain)) not in _SHARED:
            return str(ucd.script_name(code))
    return ""


def script(text: str) -> str:
    """The script of most letters; digits where there are no letters, other where there is neither.

    Examples: "Straße 12" → "Latin", "1984" → "digits", "東京" → "Han", "東京へ" → "Japanese", "+" → "other".
    """
    counts = Counter(map(_script, text))
    del counts[""]
    letters = {name: n for name, n in counts.items() if name != "digits"}
    if "Japanese" in letters:  # kana are used for Japanese alone, Han for several languages
        return "Japanese"
    if letters:
        return max(letters, key=lambda name: (letters[name], name))
    return "digits" if counts else "other"


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
