"""Texts: how they are normalised, and their edit distances, for many pairs at once. Version 1.

Source of CER and WER: Levenshtein distance in characters or words over their number in the truth, as in Morris et al.,
From WER and RIL to MER and WIL (Interspeech 2004). Worked example: truth "1234", recognised "124": one deletion.

Normalisation comes before every distance and is part of an evaluation's key. By default texts are brought to NFC and
every run of white space counts as one space, so that the recogniser is not charged for layout.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field
from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

_MARK = "\0"  # between the texts of a batch; no normal form composes across it
_WHITE = tuple(c for c in map(chr, range(0x3001)) if c.isspace() and c != " ")  # all that str.split() splits at
_WHITE_ASCII = tuple(filter(str.isascii, _WHITE))
_AT_ONCE = 1_000  # texts looked at together: they fit into the processor's cache


class Normalisation(BaseModel):
    """What is made equal before texts are compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unicode: Literal["NFC", "NFKC", "none"] = Field(
        "NFC", description="Normal form of Unicode; NFKC also makes full-width and half-width forms equal"
    )
    white_space: Literal["collapse", "remove", "keep"] = Field(
        "collapse", description="collapse: every run is one space; remove: none counts (Chinese, Japanese)"
    )
    case: Literal["keep", "fold"] = Field("keep", description="fold: upper and lower case are equal")


PLAIN = Normalisation()


def normalise(text: str, how: Normalisation = PLAIN) -> str:
    """One text, normalised. Example: "a\\t b " → "a b"."""
    if how.unicode != "none":
        text = unicodedata.normalize(how.unicode, text)
    if how.case == "fold":
        text = text.casefold()
        if how.unicode != "none":  # folding may take a normal form apart
            text = unicodedata.normalize(how.unicode, text)
    if how.white_space == "keep":
        return text
    return ("" if how.white_space == "remove" else " ").join(text.split())


def normalise_all(texts: Sequence[str], how: Normalisation = PLAIN) -> list[str]:
    """The same for many. Most texts are in plain form already: one look at all of them together finds the others."""
    if how != PLAIN:
        return [normalise(text, how) for text in texts]
    return [text for start in range(0, len(texts), _AT_ONCE) for text in _plain(texts[start : start + _AT_ONCE])]


def _plain(texts: Sequence[str]) -> list[str]:
    """As :func:`normalise` by default. A text that has a mark of its own makes the look no less strict."""
    joined = _MARK.join(texts)
    if not joined.isascii() and not unicodedata.is_normalized("NFC", joined):
        texts = [unicodedata.normalize("NFC", text) for text in texts]
        joined = _MARK.join(texts)
    plain = list(map(str.strip, texts))
    # Few calls over much memory. Two spaces at an end, stripped already, are found in vain, which costs little.
    found = [white for white in (_WHITE_ASCII if joined.isascii() else _WHITE) if white in joined]
    for white in (*found, "  ") if _has_two_spaces(joined) else found:
        for number, text in enumerate(plain):
            if white in text:
                plain[number] = " ".join(text.split())
    return plain


def _has_two_spaces(text: str) -> bool:
    if not text.isascii():
        return "  " in text
    import numpy as np

    spaces = np.frombuffer(text.encode("ascii"), np.uint8) == ord(" ")  # a quarter of the time of a search
    return bool((spaces[1:] & spaces[:-1]).any())


def distance(truth: str, recognised: str) -> int:
    """Levenshtein distance: insertions, deletions and substitutions cost 1 each. Example: ("1234", "124") → 1."""
    return Levenshtein.distance(truth, recognised)


def distances(truths: Sequence[str], recognised: Sequence[str]) -> Counts:
    """Levenshtein distances of n pairs, shape (n,), on all cores."""
    import numpy as np
    from rapidfuzz.process import cpdist

    if not truths:
        return np.zeros(0, np.int64)
    found: Counts = cpdist(truths, recognised, scorer=Levenshtein.distance, dtype=np.int64, workers=os.cpu_count() or 1)
    return found


def ned(truth: str, recognised: str) -> float:
    """Normalised edit distance of one row, edits / max(characters of both).

    Source: Ouyang et al., OmniDocBench (CVPR 2025), "Normalized Edit Distance".
    Example: ("1234", "124") → 1/4; two empty texts → 0.
    """
    longest = max(len(truth), len(recognised))
    return distance(truth, recognised) / longest if longest else 0.0
