"""Formulas: the edit distance of LaTeX after what does not change the formula has been made equal. Version 1.

What is made equal (in the spirit of OmniDocBench's normalisation, Ouyang et al., CVPR 2025, but letters keep their case
and fonts their commands): delimiters around the formula, white space and spacing commands, \\left and \\right and other
sizes, \\limits, labels and tags, braces around a single token, and commands of the same meaning (\\le and \\leq).
"""

from __future__ import annotations

import re

from sft.metrics.text import distance

_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\[", r"\]"), (r"\(", r"\)"))
_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\S", re.DOTALL)
_SIZES = "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr"
_LAYOUT = "limits nolimits displaystyle textstyle scriptstyle quad qquad nonumber notag"
_SPACES = (r"\ ", "~", r"\,", r"\;", r"\:", r"\!", r"\>")
_DROPPED = frozenset([*("\\" + name for name in f"{_SIZES} {_LAYOUT}".split()), *_SPACES])
_SAME = {
    r"\leq": r"\le",
    r"\geq": r"\ge",
    r"\neq": r"\ne",
    r"\to": r"\rightarrow",
    r"\gets": r"\leftarrow",
    r"\land": r"\wedge",
    r"\lor": r"\vee",
    r"\lnot": r"\neg",
    r"\ast": "*",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\vert": "|",
    r"\mid": "|",
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
    r"\dots": r"\ldots",
    r"\cdots": r"\ldots",
    r"\prime": "'",
    r"\operatorname*": r"\operatorname",
}
_LABEL = re.compile(r"\\(?:label|tag\*?)\s*\{[^{}]*\}")


def tokens(latex: str) -> list[str]:
    """The formula's tokens, normalised. Example: r"$\\left( a \\leq {b} \\right)$" → ["(", "a", r"\\le", "b", ")"]."""
    text = _LABEL.sub("", latex.strip().strip(".,;").strip())
    for start, end in _DELIMITERS:
        if len(text) > len(start) + len(end) and text.startswith(start) and text.endswith(end):
            text = text[len(start) : -len(end)]
            break
    found = [_SAME.get(token, token) for token in _TOKEN.findall(text) if token not in _DROPPED]
    return _without_single_braces(found)


def _without_single_braces(found: list[str]) -> list[str]:
    """``x^{2}`` and ``x^2`` are one formula; ``x^{10}`` keeps its braces."""
    out: list[str] = []
    for token in found:
        out.append(token)
        if token == "}" and len(out) >= 3 and out[-3] == "{" and out[-2] not in "{}":
            out[-3:] = [out[-2]]
    return out


def formula_distance(truth: str, recognised: str) -> float:
    """Normalised edit distance over tokens, 0 (equal) to 1. Example: ("x^2", "x^{3}") → 1/3; both empty → 0."""
    wanted, found = tokens(truth), tokens(recognised)
    longest = max(len(wanted), len(found))
    return distance_of_tokens(wanted, found) / longest if longest else 0.0


def distance_of_tokens(a: list[str], b: list[str]) -> int:
    """Levenshtein distance of two lists of tokens."""
    codes = {token: chr(number + 1) for number, token in enumerate(dict.fromkeys(a + b))}
    return distance("".join(codes[t] for t in a), "".join(codes[t] for t in b))
