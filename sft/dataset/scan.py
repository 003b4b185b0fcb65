"""Scanning a byte range of a dataset file: what every row breaks, and the facts of the good ones.

Two ways that agree (a test compares them): blocks of rows that a typed decoder takes whole, with the texts checked
column by column; and row by row, wherever a block has anything unusual, or images are to be looked at.
"""

from __future__ import annotations

import gc
import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from sft.dataset import rows, texts
from sft.dataset.images import Bounds, Folder, ImageFacts
from sft.dataset.lines import Block, blocks
from sft.dataset.rules import BYTES_PER_TOKEN, MAX_LINE, SHORT, TASKS
from sft.dataset.tokens import TEMPLATE, Limits

DIGEST = 16  # bytes: identifies a row's content
LINE_DIGEST = 8  # bytes: the same where images are not looked at
PICTURE = 8  # bytes: identifies an image's content, to find it in the other file
_QUIET_KEYS = 6  # keys of a row of one turn and one image, but for the image's own


@dataclass(frozen=True)
class Options:
    """How rows are looked at.

    Attributes:
        images: look at the image files; without it only the texts are checked, many times faster.
        off: rules that are not asked for.
        shown: findings kept for each rule.
    """

    form: rows.Format
    bounds: Bounds
    limits: Limits
    images: bool = True
    off: frozenset[str] = frozenset()
    shown: int = 5


@dataclass
class Part:
    """What a range came to; line numbers count from 1 at its start.

    Attributes:
        lines: lines in the range, blank ones included.
        digests: DIGEST bytes (LINE_DIGEST without images) for each good row, in order; ``places`` has its line.
        pictures: PICTURE bytes for each image; ``picture_places`` has its line.
        examples: the first few rows, as (line, sample).
    """

    lines: int = 0
    bytes: int = 0
    rows: int = 0
    images: int = 0
    characters: int = 0
    text_tokens: int = 0
    image_tokens: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    shown: list[tuple[str, int, str]] = field(default_factory=list)
    tasks: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)
    digests: bytearray = field(default_factory=bytearray)
    places: array[int] = field(default_factory=lambda: array("Q"))
    pictures: bytearray = field(default_factory=bytearray)
    picture_places: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, rule: str, line: int, value: str, shown: int) -> None:
        """Count a breach, and keep it if it is one of the first."""
        self.counts[rule] += 1
        if self.counts[rule] <= shown:
            self.shown.append((rule, line, value))


class _Mask(msgspec.Struct, tag_field="tag", tag="mask", gc=False):
    text: str


class _NoMask(msgspec.Struct, tag_field="tag", tag="no_mask", gc=False):
    text: str


class _ErnieImage(msgspec.Struct, gc=False):
    image_url: Annotated[str, msgspec.Meta(min_length=1)]
    matched_text_index: Literal[0] = 0


class _ErnieRow(msgspec.Struct, gc=False):
    image_info: tuple[_ErnieImage]
    text_info: tuple[_Mask, _NoMask]


class _User(msgspec.Struct, tag_field="role", tag="user", gc=False):
    content: str


class _Assistant(msgspec.Struct, tag_field="role", tag="assistant", gc=False):
    content: str


class _MessagesRow(msgspec.Struct, gc=False):
    messages: tuple[_User, _Assistant]
    images: tuple[Annotated[str, msgspec.Meta(min_length=1)]]


_FIRST, _LAST = itemgetter(0), itemgetter(-1)
_ESCAPES = (b"\\u", b"\\b", b"\\f")  # of characters that a text may be searched for
_ERNIEKIT = msgspec.json.Decoder(_ErnieRow)
_MESSAGES = msgspec.json.Decoder(_MessagesRow)


def scan(path: Path, start: int, end: int | None, options: Options) -> Part:
    """Scan the lines that begin in [start, end)."""
    scanner = Scanner(path, options)
    with _no_garbage():
        for block in blocks(path, start, end):
            scanner.block(block)
    return scanner.part


@contextmanager
def _no_garbage() -> Iterator[None]:
    """The rows have no cycles: looking for them costs more than decoding."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Scanner:
    """Takes blocks and gathers what it finds in ``part``."""

    def __init__(self, path: Path, options: Options) -> None:
        self.options = options
        self.part = Part()
        self._folder = Folder(path.resolve().parent, options.bounds)
        self._xxh = _line_hash() if not options.images else None

    def block(self, block: Block) -> None:
        """Check the lines of a block."""
        part = self.part
        part.bytes += len(block.data)
        if self.options.images or block.overlong or not self._whole(block):
            lines = [block.data] if block.overlong else block.lines()
            for number, line in enumerate(lines, block.first):
                self._line(number, line, block.overlong)
            part.lines += len(lines)

    def _whole(self, block: Block) -> bool:
        """Take the block as a whole; False where a row of it needs a closer look."""
        lines = block.lines()
        plain = plain_rows(block.data, lines, self.options.form) if len(block.data) <= MAX_LINE else None
        if plain is None:
            return False
        prompts, answers, _ = plain
        kinds = Counter(prompts)
        if self.options.form == "messages":
            if any(prompt.count(rows.IMAGE_MARK) != 1 for prompt in kinds):
                return False
            prompts = [prompt.replace(rows.IMAGE_MARK, "") for prompt in prompts]
            kinds = Counter(prompts)
        if not all(answers) or any(map(str.isspace, answers)) or not all(prompt.strip() for prompt in kinds):
            return False
        lengths = list(map(len, answers))
        if 4 * (max(lengths) + max(map(len, kinds))) + TEMPLATE > self.options.limits.max_seq_len:
            return False  # at most four tokens a character: only then can a row be too long
        data, part = block.data, self.part
        # Everything else that texts are checked for shows in the bytes, or in the prompts.
        escapes = b"\\" in data and any(escape in data for escape in _ESCAPES)
        odd = escapes or b"\x7f" in data or not data.isascii()
        if odd or min(lengths) <= SHORT or not kinds.keys() <= {"OCR:"}:
            for number, (prompt, answer) in enumerate(zip(prompts, answers), block.first):
                self._texts(number, rows.Sample((), ((prompt, answer),)))
        characters = sum(lengths)
        part.lines += len(lines)
        part.rows += len(lines)
        part.images += len(lines)
        part.characters += characters
        part.text_tokens += self._estimate(answers, characters)
        part.lengths.update(lengths)
        for prompt, count in kinds.items():
            part.tasks[TASKS.get(prompt.strip(), "other")] += count
        assert self._xxh is not None
        part.digests += b"".join(map(self._xxh, lines))
        part.places.extend(range(block.first, block.first + len(lines)))
        return True

    def _estimate(self, answers: Sequence[str], characters: int) -> int:
        """About as many tokens as the answers become, whatever the tokenizer: one for three bytes."""
        joined = "".join(answers)
        return (characters if joined.isascii() else len(joined.encode("utf-8", "surrogatepass"))) // BYTES_PER_TOKEN

    def _line(self, number: int, line: bytes, overlong: bool) -> None:
        if overlong or len(line) > MAX_LINE:
            self._add("line-size", number, f"{MAX_LINE} bytes or more")
            return
        if not line.strip():
            return
        form = self.options.form
        sample = rows.decode(line, form)
        if sample is None:
            for rule, value in _explain(line, form):
                self._add(rule, number, value)
            return
        if line.count(b'":') != _keys(sample, form, line) and (twice := duplicate_keys(line)):
            self._add("duplicate-key", number, ", ".join(twice))
            return
        facts = self._images(number, sample)
        if facts is not None:
            self._texts(number, sample)
            self._count(number, line, sample, facts)

    def _images(self, number: int, sample: rows.Sample) -> list[ImageFacts] | None:
        """The facts of the row's images; None where one breaks a rule."""
        if not self.options.images:
            return []
        found: list[ImageFacts] = []
        for name, _ in sample.images:
            result = self._folder.inspect(name)
            if not isinstance(result, ImageFacts):
                self._add(result[0], number, result[1])
                continue
            found.append(result)
            for rule, value in result.warnings:
                self._add(rule, number, value)
        return found if len(found) == len(sample.images) else None

    def _texts(self, number: int, sample: rows.Sample) -> None:
        for rule, value in texts.breaches(sample):
            self._add(rule, number, value)
        for prompt, _ in sample.turns:
            near = rows.nearest_prompt(prompt)
            if near is not None:
                self._add("prompt", number, f"{prompt[:60]!r}" + (f", perhaps {near!r}" if near else ""))

    def _count(self, number: int, line: bytes, sample: rows.Sample, facts: list[ImageFacts]) -> None:
        part, limits = self.part, self.options.limits
        part.rows += 1
        part.images += len(sample.images)
        part.tasks[sample.task] += 1
        length = len(sample.answer)
        part.lengths[length] += 1
        part.characters += length
        part.places.append(number)
        if self._xxh is not None:
            part.digests += self._xxh(line)
        else:
            part.digests += row_digest(sample, [fact.sha256 for fact in facts])
        pictures = 0
        for fact in facts:
            part.widths[fact.width] += 1
            part.heights[fact.height] += 1
            pictures += limits.image_tokens(fact.width, fact.height)
            kept = limits.max_pixels / (fact.width * fact.height)
            if kept < 0.25:
                self._add("image-shrunk", number, f"{fact.width} × {fact.height}: {100 * kept:.0f} % of the pixels")
            if fact.sha256:
                part.pictures += bytes.fromhex(fact.sha256[: 2 * PICTURE])
                part.picture_places.append(number)
        self._tokens(number, sample, pictures)

    def _tokens(self, number: int, sample: rows.Sample, pictures: int) -> None:
        limits, part = self.options.limits, self.part
        words = [text for turn in sample.turns for text in turn]
        spare = TEMPLATE * len(sample.turns)
        estimate = self._estimate(words, sum(map(len, words))) + spare
        part.text_tokens += estimate
        part.image_tokens += pictures
        part.tokens[estimate + pictures] += 1
        if 4 * sum(map(len, words)) + spare + pictures <= limits.max_seq_len:
            return
        total = sum(map(limits.text_tokens, words)) + spare + pictures
        if total > limits.max_seq_len:
            rule = "tokens" if limits.exact else "tokens-estimate"
            self._add(rule, number, f"{total} tokens, {pictures} of them the image's, of {limits.max_seq_len}")

    def _add(self, rule: str, number: int, value: str) -> None:
        if rule not in self.options.off:
            self.part.add(rule, number, value, self.options.shown)


class Columns(NamedTuple):
    """Rows of one turn and one image, column by column; in the format messages a prompt has its image mark."""

    prompts: list[str]
    answers: list[str]
    images: list[str]


def plain_rows(data: bytes, lines: list[bytes], form: rows.Format) -> Columns | None:
    """The rows of a block if all have one turn and one image and name each key once, and nothing else; else None."""
    try:
        if form == "erniekit":
            ernie = _ERNIEKIT.decode_lines(data)
            texts_ = [row.text_info for row in ernie]
            columns = Columns(
                [t[0].text for t in texts_], [t[1].text for t in texts_], [row.image_info[0].image_url for row in ernie]
            )
            keys = (_QUIET_KEYS + 1) * len(ernie) + data.count(b'"matched_text_index"')
        else:
            rows_ = _MESSAGES.decode_lines(data)
            chats = [row.messages for row in rows_]
            columns = Columns(
                [c[0].content for c in chats], [c[1].content for c in chats], [row.images[0] for row in rows_]
            )
            keys = _QUIET_KEYS * len(rows_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return columns if _is_plain(data, lines, columns, keys) else None


def erniekit_row(prompt: str, answer: str, image: str) -> _ErnieRow:
    """A row of one turn, ready to be encoded."""
    return _ErnieRow((_ErnieImage(image),), (_Mask(prompt), _NoMask(answer)))


def messages_row(prompt: str, answer: str, image: str) -> _MessagesRow:
    """A row of one turn, ready to be encoded; the prompt has its image mark."""
    return _MessagesRow((_User(prompt), _Assistant(answer)), (image,))


def _is_plain(data: bytes, lines: list[bytes], found: Columns, keys: int) -> bool:
    """Is each line one row, with no key more than the known ones?

    The decoder also takes rows over several lines, or several in one. Inside a row no line that ends with } is
    followed by one that starts with {. And a key is followed by a colon, as only texts may hold others.
    """
    if len(found.prompts) != len(lines) or not all(lines):
        return False
    if set(map(_FIRST, lines)) != {ord("{")} or set(map(_LAST, lines)) != {ord("}")}:
        return False
    return data.count(b":") == keys + sum("".join(column).count(":") for column in found)


def _keys(sample: rows.Sample, form: rows.Format, line: bytes) -> int:
    """How often a row of known keys only says ``":``."""
    if form == "messages":
        return 2 + 4 * len(sample.turns)
    return 2 + 4 * len(sample.turns) + len(sample.images) + line.count(b'"matched_text_index"')


def duplicate_keys(line: bytes) -> list[str]:
    """Keys that an object of the row names more than once."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in items)
        twice.extend(key[:40] for key, count in counts.items() if count > 1)
        return dict(items)

    try:
        json.loads(line, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return []
    return twice


def _explain(line: bytes, form: rows.Format) -> list[rows.Breach]:
    other = rows.detect(line)
    if other not in (form, None):
        return [("format", f"a row in format {other} in a file of {form}")]
    return rows.breaches(line, form)


def row_digest(sample: rows.Sample, pictures: list[str]) -> bytes:
    """Identifies the content of a row: texts, image contents and to which turn they belong; not their names."""
    places = [turn for _, turn in sample.images]
    content = msgspec.msgpack.encode((sample.turns, pictures, places))
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


def _line_hash() -> Callable[[bytes], bytes]:
    """Identifies a line, where images are not looked at: rows are the same if they are so byte by byte."""
    from xxhash import xxh3_64_digest

    return xxh3_64_digest
