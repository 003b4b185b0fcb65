"""What the base model's tokenizer makes of the characters: which of them it lacks, and what a script costs.

A character that is not in the vocabulary is spelled in bytes, a token each (``byte_fallback`` of sentencepiece, and of
tokenizers' BPE), or becomes the unknown token, which no answer says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from sft.dataset.rows import Breach
from sft.dataset.rules import DEAR
from sft.dataset.tokens import loaded
from sft.notation.scripts import of_character

LEAST = 100  # characters of a script, or nothing is said of it
SHOWN = 5  # characters of a text that a finding names
UNKNOWN = ("<unk>", "[UNK]")
Costs = Mapping[str, tuple[int, int]]  # script → (characters, tokens)


class Coverage:
    """One tokenizer, asked for each character once."""

    def __init__(self, tokenizer: str) -> None:
        self._tokenizer = loaded(tokenizer)
        self._unknown = {*UNKNOWN, getattr(self._tokenizer.model, "unk_token", None)}
        self._plain: set[str] = set()
        self._lacking: dict[str, int] = {}  # character → tokens; 0: it is lost
        self._else = re.compile(r"[^\x00-\x7f]")  # but for ASCII, which is in every vocabulary, and what is plain

    def is_covered(self, text: str) -> bool:
        """Is every character in the vocabulary? Fast where they have been met before; of many texts ask at once."""
        if text.isascii() or not self._else.search(text):
            return True
        characters = {character for character in set(text) if not character.isascii()}
        if unknown := characters - self._plain - self._lacking.keys():
            self._ask(unknown)
            self._else = re.compile(rf"[^\x00-\x7f{''.join(map(re.escape, sorted(self._plain)))}]")
        return not characters & self._lacking.keys()

    def breaches(self, text: str, where: str) -> Iterator[Breach]:
        """Characters beyond ASCII that the vocabulary lacks."""
        if self.is_covered(text):
            return
        lacking = sorted(set(text) & self._lacking.keys())
        for rule, found in (
            ("character-lost", [character for character in lacking if not self._lacking[character]]),
            ("character-bytes", [character for character in lacking if self._lacking[character]]),
        ):
            if found:
                said = (f"{c} U+{ord(c):04X}{self._price(c)}" for c in found[:SHOWN])
                more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
                yield rule, f"{where}: {', '.join(said)}{more}"

    def _price(self, character: str) -> str:
        return f" ({self._lacking[character]} tokens)" if self._lacking[character] else ""

    def _ask(self, characters: Iterable[str]) -> None:
        for character in characters:
            made = self._tokenizer.encode(character, add_special_tokens=False)
            # U+FFFD and what nobody sees are named by rules of their own.
            if not character.isprintable() or character == "\ufffd":
                self._plain.add(character)
            elif self._unknown.intersection(made.tokens):
                self._lacking[character] = 0
            elif any("\ufffd" in self._tokenizer.decode([one]) for one in made.ids):  # a part of a character
                self._lacking[character] = len(made.ids)
            else:
                self._plain.add(character)

    def costs(self, texts: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Script → (characters, tokens) of some texts; a token counts where its first letter does."""
        characters: Counter[str] = Counter()
        tokens: Counter[str] = Counter()
        for text in texts:
            characters.update(map(of_character, text))
            for start, end in self._tokenizer.encode(text, add_special_tokens=False).offsets:
                tokens[next(filter(None, map(of_character, text[start:end])), "")] += 1
        return {name: (count, tokens[name]) for name, count in sorted(characters.items()) if name}


@lru_cache(maxsize=4)
def coverage(tokenizer: str) -> Coverage:
    """Of a tokenizer.json."""
    return Coverage(tokenizer)


def rates(costs: Costs) -> dict[str, float]:
    """Script → tokens a character, of the scripts that enough is known of."""
    return {name: round(tokens / count, 2) for name, (count, tokens) in costs.items() if count >= LEAST}


def dear(costs: Costs) -> Iterator[str]:
    """What is to be said of scripts that cost more than :data:`sft.dataset.rules.DEAR`."""
    for name, rate in rates(costs).items():
        if rate > DEAR:
            yield f"{name}: {rate} tokens a character, in {costs[name][0]} characters that were looked at"
