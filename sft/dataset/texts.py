"""What can be wrong with the words: characters that nobody sees, encodings gone wrong, markup that does not close."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence, Set

from sft import otsl
from sft.dataset.rows import Breach, Sample
from sft.dataset.rules import SHORT

# Controls but \t \n \r; soft hyphen, zero-width and direction marks, separators, byte order mark, non-characters.
# ZWNJ and ZWJ (U+200C, U+200D) are letters' joiners in Bengali, Persian and others: they stay.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([^{}]*)\}")
_SIDE = re.compile(r"\\(left|right)(?![a-zA-Z])")
_ESCAPED = re.compile(r"\\[\\{}]")
_VISIBLE = re.compile(r"[^\W_]")
# What trainers count pictures by, what the tokenizer makes one token of, and the tokens of tables. Tokens
# of places, <|LOC_0|> to <|LOC_1000|>, are answers.
_PLACEHOLDER = re.compile("<(?:image|video|audio)>")
_SPECIAL = re.compile(r"<\|(?!LOC_)[^|<>\s]{1,60}\|>|</?s>|<unk>|<pad>|<mask:\d+>")
_TABLE = re.compile("<(?:[felux]cel|nl)>")
_MARKS = re.compile(rb"<(?:\||/?s>|unk>|pad>|mask:|video>|audio>|[felux]cel>|nl>)")
_ESCAPES = (b"\\u", b"\\b", b"\\f")  # in JSON: of characters that a text may be searched for
_RUNS = 40  # characters of a text that a finding shows


def is_clean(text: str) -> bool:
    """Has the text nothing that :func:`hygiene` names? Fast: most texts are."""
    if text.isascii():
        return text.isprintable() or not _CONTROL.search(text)
    return "\ufffd" not in text and not _CONTROL.search(text) and unicodedata.is_normalized("NFC", text)


def may_breach(data: bytes, prompts: Set[str], answers: Sequence[str], shortest: int, images: int) -> bool:
    """Can any of these rows break a rule of this module? One look at all of them together: most cannot.

    Args:
        data: the rows' bytes.
        prompts: each prompt once, without the marks of images.
        answers: one for each row, of which the shortest has ``shortest`` characters.
        images: how many <image> the format asks for.
    """
    if shortest <= SHORT or not prompts <= {"OCR:"}:
        return True
    if b"\\" in data and any(escape in data for escape in _ESCAPES):
        return True
    if b"<" in data and (data.count(b"<image>") != images or _MARKS.search(data)):
        return True
    return b"\x7f" in data or not data.isascii()


def hygiene(text: str, where: str) -> Iterator[Breach]:
    """Characters that a text should not have."""
    found = sorted({f"U+{ord(character):04X}" for character in _CONTROL.findall(text)})
    if found:
        yield "control", f"{where}: {', '.join(found[:5])}"
    if "\ufffd" in text:
        yield "replacement", f"{where}: {_around(text, text.index(chr(0xFFFD)))}"
    if not unicodedata.is_normalized("NFC", text):
        composed = unicodedata.normalize("NFC", text)
        at = next((i for i, (a, b) in enumerate(zip(text, composed)) if a != b), 0)
        yield "normal-form", f"{where}: {_around(text, at)}"


def marks(text: str, where: str, *, table: bool) -> Iterator[Breach]:
    """What the trainer's template or the model's tokenizer would not take for text."""
    for rule, pattern in (("placeholder", _PLACEHOLDER), ("special-token", _SPECIAL), ("table-token", _TABLE)):
        if (found := pattern.search(text)) and not (table and rule == "table-token"):
            yield rule, f"{where}: {found[0]}"


def _around(text: str, at: int) -> str:
    return ascii(text[max(0, at - _RUNS // 2) : at + _RUNS // 2])


def is_near_empty(answer: str) -> bool:
    """Is there only punctuation in a short answer? Symbols such as + or € count as text."""
    if len(answer) > SHORT or _VISIBLE.search(answer):
        return False
    return not any(unicodedata.category(character)[0] in "LNS" for character in answer)


def breaches(sample: Sample) -> Iterator[Breach]:
    """All that is wrong with the texts of a row."""
    for number, (prompt, answer) in enumerate(sample.turns):
        for text, name in ((prompt, f"prompt {number + 1}"), (answer, f"answer {number + 1}")):
            if not is_clean(text):
                yield from hygiene(text, name)
            if "<" in text:
                yield from marks(text, name, table=prompt.strip() == "Table Recognition:")
        if is_near_empty(answer):
            yield "near-empty", repr(answer)
        check = _SYNTAX.get(prompt.strip())
        if check is not None and (problem := check[1](answer)):
            yield check[0], problem


def latex_problem(text: str) -> str:
    """Which brace, environment or delimiter has no partner; empty where all have."""
    depth = 0
    plain = _ESCAPED.sub("", text)
    for at, character in enumerate(plain):
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return f"a }} too many: {plain[max(0, at - 20) : at + 1]!r}"
    if depth:
        return f"{depth} {{ not closed"
    open_ones: list[str] = []
    for kind, name in _ENVIRONMENT.findall(text):
        if kind == "begin":
            open_ones.append(name)
        elif not open_ones or open_ones.pop() != name:
            return f"\\end{{{name}}} without its \\begin"
    if open_ones:
        return f"\\begin{{{open_ones[-1]}}} without its \\end"
    sides = _SIDE.findall(text)
    if sides.count("left") != sides.count("right"):
        return f"{sides.count('left')} \\left, {sides.count('right')} \\right"
    return ""


def chart_problem(text: str) -> str:
    """Which line of a chart's table (cells between ``|``) has another number of cells than the first."""
    lines = [line.strip().strip("|") for line in text.strip().splitlines() if line.strip()]
    counts = [line.count("|") + 1 for line in lines]
    if not counts or counts[0] < 2:
        return "no table: cells between | in each line"
    odd = next((i for i, count in enumerate(counts) if count != counts[0]), None)
    return f"line {odd + 1} has {counts[odd]} cells, line 1 has {counts[0]}" if odd is not None else ""


_SYNTAX = {
    "Table Recognition:": ("otsl", otsl.problem),
    "Formula Recognition:": ("latex", latex_problem),
    "Chart Recognition:": ("chart", chart_problem),
}
