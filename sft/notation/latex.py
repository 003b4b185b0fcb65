"""LaTeX of formulas: does it parse, and its tokens after what does not change the formula has been made equal.

What is made equal follows ``normalized_formula`` of OmniDocBench (Ouyang et al., CVPR 2025: delimiters, environments
around the whole, tags, horizontal space, the final full stop) and the normaliser of UniMERNet (Wang et al., 2024: old
commands such as \\over, the order of sub- and superscripts, braces around a single token). Other than in OmniDocBench,
letters keep their case and fonts their commands, but for upright text, which has many names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\S", re.DOTALL)
_PART = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}|\\(?:left|right)(?![A-Za-z])|\\[A-Za-z]+|\\.|%[^\n]*|\S", re.DOTALL)
_SCRIPTS = ("^", "_")
_TELLING = "{}^_&$%"  # single characters that problems hang on
_DOLLAR = re.compile(r"(?:\\.|%[^\n]*)|(\$)", re.DOTALL)
_SHOWN = 20  # characters before the place that a problem names

# Dropped with their arguments: labels and numbers, space of a given width; \\[2pt] is \\ and a null delimiter is none.
_ARGUMENTS = re.compile(
    r"\\(?:label|tag\*?|hspace\*?|vspace\*?|mspace)\s*\{[^{}]*\}"
    r"|\\(?:hskip|kern|mkern|mskip)\s*-?[\d.]+\s*(?:pt|em|ex|mu|cm|mm|in)"
    r"|(?<=\\\\)\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|cm|mm|in)\s*\]"
    r"|\\(?:left|right)\s*\."
)
_SIZES = "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm Bigm biggm Biggm"
_LAYOUT = "limits nolimits displaystyle textstyle scriptstyle scriptscriptstyle nonumber notag boldmath allowbreak"
_BLANK = (
    "quad qquad space enspace enskip thinspace medspace thickspace nobreakspace negthinspace negmedspace negthickspace"
)
_SPACES = (r"\ ", "~", r"\,", r"\;", r"\:", r"\!", r"\>", "\\\n")
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\[", r"\]"), (r"\(", r"\)"))
_NAMES = ("\\" + name for name in f"{_SIZES} {_LAYOUT} {_BLANK}".split())
_DROPPED = frozenset([*_NAMES, *_SPACES, "$", r"\(", r"\)", r"\[", r"\]"])
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
    r"\lbrack": "[",
    r"\rbrack": "]",
    r"\colon": ":",
    r"\lt": "<",
    r"\gt": ">",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\vert": "|",
    r"\mid": "|",
    r"\Vert": r"\|",
    r"\lVert": r"\|",
    r"\rVert": r"\|",
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
    r"\cfrac": r"\frac",
    r"\dbinom": r"\binom",
    r"\tbinom": r"\binom",
    r"\dots": r"\ldots",
    r"\cdots": r"\ldots",
    r"\prime": "'",
    r"\operatorname*": r"\operatorname",
    r"\text": r"\mathrm",
    r"\textrm": r"\mathrm",
    r"\textnormal": r"\mathrm",
    r"\mbox": r"\mathrm",
    r"\hbox": r"\mathrm",
    r"\textbf": r"\mathbf",
    r"\textit": r"\mathit",
    r"\bm": r"\boldsymbol",
}
_SWITCHES = {r"\rm": r"\mathrm", r"\bf": r"\mathbf", r"\it": r"\mathit", r"\cal": r"\mathcal"}
# Environments that may stand around a whole formula: they place it, and have & where its lines are aligned.
_PLACING = "equation displaymath math align aligned alignat gather gathered split multline eqnarray flalign"
_AROUND = frozenset(name + star for name in _PLACING.split() for star in ("", "*"))
_BOUND = re.compile(r"\\(begin|end)\s*\{([^{}]*)\}|\\.|&", re.DOTALL)
_FINAL = frozenset(".,;")
_NESTED = 8  # delimiters and environments around one formula that are looked through
_OPERATORS = frozenset("=+-*/(,|[<>:&")  # behind these no argument of a command follows


def problem(text: str) -> str:
    """Why a formula does not parse; empty where its groups (braces, environments, \\left … \\right) pair and nest, each
    $ has its partner, and something stands behind each ^ and _.
    """
    open_ones: list[str] = []
    before = ""
    for found in _PART.finditer(text):
        part = found.group()
        if part.startswith((r"\begin", r"\end")):
            part = "".join(part.split())  # \begin {array} … \end{array}
        if len(part) == 1 and part not in _TELLING:
            before = part
            continue
        if part[0] == "%":  # a comment
            continue
        opener = _opener(part)
        if before in _SCRIPTS and (opener or part in ("&", r"\\", "$", *_SCRIPTS)):
            return f"nothing behind {before}: {_around(text, found)}"
        if opener:
            if not open_ones or open_ones[-1] != opener:
                return _unpaired(part, opener, text, _around(text, found), crossing=opener in open_ones)
            open_ones.pop()
        elif part in ("{", r"\left") or part.startswith(r"\begin"):
            open_ones.append(part)
        before = part
    if open_ones:
        return _unclosed(open_ones, text)
    if "$" in text and _DOLLAR.findall(text).count("$") % 2:
        return "a $ without its partner"
    return f"nothing behind {before} at the end" if before in _SCRIPTS else ""


def _around(text: str, found: re.Match[str]) -> str:
    return repr(text[max(0, found.start() - _SHOWN) : found.end()])


@lru_cache(maxsize=4096)  # a truth is compared with the answers of several models
def unreadable(text: str) -> str:
    """Why nothing can be compared with a formula; empty for one that parses and has a token."""
    return problem(text) or ("" if tokens(text) else "a formula without a symbol")


def _opener(part: str) -> str:
    """What a closing part closes; empty for any other part."""
    if part.startswith(r"\end") and part.endswith("}"):
        return part.replace("end", "begin", 1)
    return {"}": "{", r"\right": r"\left"}.get(part, "")


def _unpaired(part: str, opener: str, text: str, around: str, *, crossing: bool) -> str:
    if crossing:
        return f"groups cross at {part}: {around}"
    if part == "}":
        return f"a }} too many: {around}"
    return _sides(text) if opener == r"\left" else f"{part} without its \\begin"


def _unclosed(open_ones: Sequence[str], text: str) -> str:
    last = open_ones[-1]
    if last == "{":
        return f"{open_ones.count(last)} {{ not closed"
    return _sides(text) if last == r"\left" else f"{last} without its \\end"


def _sides(text: str) -> str:
    sides = _PART.findall(text)
    return f"{sides.count(chr(92) + 'left')} \\left, {sides.count(chr(92) + 'right')} \\right"


@lru_cache(maxsize=4096)
def tokens(latex: str) -> tuple[str, ...]:
    """The formula's tokens, normalised. Example: r"$\\left( a \\leq {b} \\right)$." → ("(", "a", r"\\le", "b", ")")."""
    text = _inside(_ARGUMENTS.sub(" ", latex))
    found = _grouped([_SAME.get(token, token) for token in _TOKEN.findall(text) if token not in _DROPPED])
    while found and found[-1] in _FINAL:
        found.pop()
    return tuple(found)


def _inside(text: str) -> str:
    """Without what stands around the whole: white space, delimiters, environments; without a final full stop."""
    for _ in range(_NESTED):
        before, text = text, _without_end(text.lstrip())
        for start, end in _DELIMITERS:
            if len(text) >= len(start) + len(end) and text.startswith(start) and text.endswith(end):
                text = text[len(start) : len(text) - len(end)]
                break
        text = _without_environment(text)
        if text == before:
            break
    return text


def _without_end(text: str) -> str:
    end = len(text)
    while end and (text[end - 1].isspace() or (text[end - 1] in _FINAL and text[end - 2 : end - 1] != "\\")):
        end -= 1
    return text[:end]


def _without_environment(text: str) -> str:
    """The content of an environment that places the whole formula, without the & that align its lines."""
    depth, cut, kept = 0, 0, []
    for found in _BOUND.finditer(text):
        kind, name = found.groups()
        if not depth and (kind != "begin" or found.start() or name not in _AROUND):
            return text
        if not kind:
            if found.group() == "&" and depth == 1:
                kept.append(text[cut : found.start()])
                cut = found.end()
            continue
        if not depth:
            cut = found.end()
        depth += 1 if kind == "begin" else -1
        if not depth:
            return " ".join([*kept, text[cut : found.start()]]) if found.end() == len(text) else text
    return text


def _grouped(found: Sequence[str]) -> list[str]:
    """The tokens with each group in its plain form, innermost first; braces without partners stay where they are."""
    opened: list[list[str | list[str]]] = [[]]  # the items of each open group: tokens, and whole groups
    for token in found:
        if token == "{":
            opened.append([])
        elif token == "}" and len(opened) > 1:
            items = opened.pop()
            opened[-1] += _closed(items, opened[-1])
        else:
            opened[-1].append(token)
    outer = _fraction(_scripts(opened[0])) if len(opened) == 1 else opened[0]
    if len(outer) == len(opened) == 1 and isinstance(outer[0], list):  # braces around the whole
        return outer[0][1:-1]
    flat = _flat(outer)
    for items in opened[1:]:
        flat += ["{", *_flat(_scripts(items))]
    return flat


def _closed(items: list[str | list[str]], outer: Sequence[str | list[str]]) -> list[str | list[str]]:
    """A group as items of the one around it: ``x^{2}`` and ``x^2`` are one formula; ``x^{10}`` keeps its braces."""
    items = _scripts(items)
    if items and isinstance(items[0], str) and items[0] in _SWITCHES:
        return [_SWITCHES[items[0]], *_closed(items[1:], ())]
    if r"\over" in items:
        items = _fraction(items)
        if not outer or (isinstance(outer[-1], str) and outer[-1] in _OPERATORS):
            return items
    return items if len(items) == 1 else [["{", *_flat(items), "}"]]


def _fraction(items: list[str | list[str]]) -> list[str | list[str]]:
    r"""``a \over b`` → ``\frac{a}{b}``."""
    if r"\over" not in items:
        return items
    at = items.index(r"\over")
    return [r"\frac", *_closed(items[:at], (r"\frac",)), *_closed(items[at + 1 :], (r"\frac",))]


def _scripts(items: list[str | list[str]]) -> list[str | list[str]]:
    r"""A subscript before its superscript, and ``x^{\prime}`` as ``x'``."""
    out: list[str | list[str]] = []
    at = 0
    while at < len(items):
        item, behind = items[at], items[at + 1 : at + 4]
        if item == "^" and behind and _primes(behind[0]):
            out += _primes(behind[0])
            at += 2
        elif item == "^" and len(behind) == 3 and behind[1] == "_" and not _takes(items, at + 3):
            out += ["_", behind[2], "^", behind[0]]
            at += 4
        else:
            out.append(item)
            at += 1
    return out


def _primes(item: str | list[str]) -> list[str]:
    marks = item[1:-1] if isinstance(item, list) else [item]
    return marks if marks and all(mark == "'" for mark in marks) else []


def _takes(items: Sequence[str | list[str]], at: int) -> bool:
    """Is the item a command that takes the group behind it as its argument?"""
    item = items[at]
    return isinstance(item, str) and item[:1] == "\\" and isinstance(items[at + 1] if at + 1 < len(items) else "", list)


def _flat(items: Sequence[str | list[str]]) -> list[str]:
    return [token for item in items for token in ([item] if isinstance(item, str) else item)]
