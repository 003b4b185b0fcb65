"""Formulas: the edit distance of LaTeX tokens, after what does not change the formula has been made equal. Version 2.

What is made equal, and the sources: :mod:`sft.notation.latex`. A truth that does not parse, or has no token, cannot
be compared with: the distance is 1, whatever was recognised. An answer that does not parse is wrong by one token at
least.
"""

from __future__ import annotations

from collections.abc import Sequence

from sft.metrics.text import distance
from sft.notation import latex


def formula_distance(truth: str, recognised: str) -> float:
    """Normalised edit distance over tokens, 0 (equal) to 1. Example: ("x^2", "x^{3}") → 1/3."""
    if latex.unreadable(truth):
        return 1.0
    wanted, found = latex.tokens(truth), latex.tokens(recognised)
    edits = distance_of_tokens(wanted, found) or int(bool(latex.problem(recognised)))
    return edits / max(len(wanted), len(found))


def distance_of_tokens(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance of two lists of tokens."""
    codes = {token: chr(number + 1) for number, token in enumerate(dict.fromkeys([*a, *b]))}
    return distance("".join(codes[t] for t in a), "".join(codes[t] for t in b))
