"""What can be wrong with the words: characters that nobody sees, encodings gone wrong, markup that does not close."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence, Set

from sft.dataset.rows import Breach, Sample
from sft.dataset.rules import SHORT
from sft.dataset.tasks import BUILT_IN, Known, task_of
from sft.families import Task
from sft.notation import documents, latex, otsl, pipes, spotting, tables

# Controls but \t \n \r; soft hyphen, zero-width and direction marks, separators, byte order mark, non-characters.
# ZWNJ and ZWJ (U+200C, U+200D) are letters' joiners in Bengali, Persian and others: they stay.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
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


def table_problem(answer: str) -> str:
    """Why an answer is no table in OTSL, and what it is instead where that can be seen."""
    said = otsl.unreadable(answer)
    return f"{tables.kind(answer) or 'text'}, {said}" if said else ""


def is_near_empty(answer: str) -> bool:
    """Is there only punctuation in a short answer? Symbols such as + or € count as text."""
    if len(answer) > SHORT or _VISIBLE.search(answer):
        return False
    return not any(unicodedata.category(character)[0] in "LMNS" for character in answer)


def breaches(sample: Sample, among: Known = BUILT_IN, *, places: bool = True) -> Iterator[Breach]:
    """All that is wrong with the texts of a row.

    Args:
        among: the tasks that there are, by their prompts.
        places: has the base model tokens of places?
    """
    for number, (prompt, answer) in enumerate(sample.turns):
        task = task_of(prompt, among)
        for text, name in ((prompt, f"prompt {number + 1}"), (answer, f"answer {number + 1}")):
            if not is_clean(text):
                yield from hygiene(text, name)
            if "<" in text:
                yield from marks(text, name, table=task.measure == "table")
                if not places and spotting.has_tokens(text):
                    yield "place-token", f"{name}: {spotting.tokens_of(text, 20)}"
        if is_near_empty(answer):
            yield "near-empty", repr(answer)
        for rule, problem in _SYNTAX.get(task.measure, ()):
            if said := problem(answer, task):
                yield rule, said
                break


def chart_problem(answer: str) -> str:
    """Why an answer is no whole table of a chart."""
    return pipes.unreadable(answer) or pipes.problem(answer)


latex_problem = latex.unreadable


def _alone(problem: Callable[[str], str]) -> Callable[[str, Task], str]:
    return lambda answer, _: problem(answer)


# Measure → the rule of what it can read, that of what is odd all the same, each with who says what is wrong.
Check = tuple[str, Callable[[str, Task], str]]
_SYNTAX: dict[str, tuple[Check, ...]] = {
    "table": (("table-format", _alone(table_problem)), ("otsl", _alone(otsl.problem))),
    "formula": (("latex", _alone(latex_problem)),),
    "chart": (("chart-format", _alone(pipes.unreadable)), ("chart", _alone(chart_problem))),
    "spotting": (("spotting-format", _alone(spotting.unreadable)),),
    "json": (
        ("json-format", _alone(documents.unreadable)),
        ("json-keys", lambda answer, task: documents.lacking(answer, task.required)),
    ),
}
