"""Texts: how they are normalised, and their edit distances, for many pairs at once. Version 1.

Source of CER and WER: Levenshtein distance in characters or words over their number in the truth, as in Morris et al.,
From WER and RIL to MER and WIL (Interspeech 2004). Worked example: truth "1234", recognised "124": one deletion.

Normalisation comes before every distance and is part of an evaluation's key. By default texts are brought to NFC and
every run of white space counts as one space, so that the recogniser is not charged for layout.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

_MARK = "\0"  # between the texts of a batch; no normal form composes across it
_BEYOND = 0x3001  # no white space from here on
_WHITE = tuple(c for c in map(chr, range(_BEYOND)) if c.isspace() and c != " ")  # all that str.split() splits at
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
    done = list(texts)
    for start in range(0, len(done), _AT_ONCE):
        part = done[start : start + _AT_ONCE]
        if how == PLAIN:
            for number in _unusual(part):
                done[start + number] = _plain(part[number])
        else:
            done[start : start + _AT_ONCE] = [normalise(text, how) for text in part]
    return done


def _plain(text: str) -> str:
    """As :func:`normalise` by default."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


@cache
def _white_space() -> NDArray[np.bool_]:
    """Which code points up to _BEYOND are white space other than the space itself."""
    import numpy as np

    table = np.zeros(_BEYOND + 1, np.bool_)
    table[list(map(ord, _WHITE))] = True
    return table


def _unusual(texts: Sequence[str]) -> Iterable[int]:
    """Numbers of the texts that plain normalisation may change."""
    import numpy as np

    joined = _MARK.join(texts)
    if not joined:
        return ()
    if joined.isascii():
        codes: NDArray[Any] = np.frombuffer(joined.encode("ascii"), np.uint8)
        unusual = (codes < ord(" ")) & (codes != 0)
    elif unicodedata.is_normalized("NFC", joined):
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        unusual = _white_space()[np.minimum(codes, _BEYOND)]
    else:
        return range(len(texts))
    marks, spaces = codes == 0, codes == ord(" ")
    if np.count_nonzero(marks) != len(texts) - 1:
        return range(len(texts))  # a text has a mark of its own
    edges = marks | spaces  # a space beside one of these, or at an end, is one too many
    unusual[1:] |= spaces[1:] & edges[:-1]
    unusual[:-1] |= spaces[:-1] & edges[1:]
    unusual[[0, -1]] |= spaces[[0, -1]]
    found: list[int] = np.unique(np.searchsorted(np.flatnonzero(marks), np.flatnonzero(unusual))).tolist()
    return found


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
