"""The script of a character, and of a text."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

_JAPANESE = {"Hira", "Kana"}
_SHARED = ("Zyyy", "Zinh", "Zzzz")  # characters of several scripts, or of none that is known


@lru_cache(maxsize=65536)
def of_character(character: str) -> str:
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
    counts = Counter(map(of_character, text))
    del counts[""]
    letters = {name: n for name, n in counts.items() if name != "digits"}
    if "Japanese" in letters:  # kana are used for Japanese alone, Han for several languages
        return "Japanese"
    if letters:
        return max(letters, key=lambda name: (letters[name], name))
    return "digits" if counts else "other"
