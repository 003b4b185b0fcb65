"""The held-out rows that are read: each turn with all that stood before it in training; of many, a fair sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from sft import metrics
from sft.dataset.documents import document_of
from sft.dataset.reading import image_folder, read_samples
from sft.dataset.rows import Format, Sample
from sft.dataset.split import is_dev
from sft.dataset.tasks import BUILT_IN, Known, task_of
from sft.models.questions import Question, Turn
from sft.store import records

SAMPLING = 1  # how a sample is drawn; another version evaluates again


@dataclass(frozen=True)
class HeldOutRow:
    """One question to a model and its truth: a row of the file, or one turn of it.

    Attributes:
        number: the row's place in the file, from 0.
        images: of this turn; those of the turns before are in ``earlier``.
        task, measure: what is asked for, and how an answer is judged.
        earlier: the row's turns before this one, with their true answers, as the trainers show them.
        document: that the row belongs to, by its first image (see :mod:`sft.dataset.documents`).
    """

    number: int
    images: tuple[Path, ...]
    prompt: str
    truth: str
    task: str
    earlier: Question = ()
    measure: str = "text"
    document: str = ""

    @property
    def turns(self) -> Question:
        """What a model is shown, in the order of the training."""
        return (*self.earlier, Turn(self.images, self.prompt))

    @property
    def shown(self) -> tuple[Path, ...]:
        """All images that a model is shown."""
        return tuple(path for turn in self.turns for path in turn.images)

    @property
    def image(self) -> str:
        """The names of all images that a model is shown, for people."""
        return ", ".join(map(str, self.shown))

    def key(self) -> str:
        """Names what a model is shown: images, prompt, and the turns before. The truth is no part of it: it may be
        corrected.
        """
        seen = [records.hash_file(path) for path in self.images]
        parts = [
            [records.hash_file(path) for path in turn.images] + [turn.prompt, turn.answer] for turn in self.earlier
        ]
        return records.fingerprint([*seen, self.prompt, *([parts] if parts else [])])[:32]


def questions(path: Path, form: Format, among: Known = BUILT_IN, dev_share: float = 0.0) -> Iterator[HeldOutRow]:
    """Every turn of every row, in the file's order.

    Args:
        dev_share: where it is above 0, of the dev rows alone (see :func:`sft.dataset.split.is_dev`).
    """
    for number, sample in enumerate(read_samples(path, form)):
        if not dev_share or is_dev(sample, dev_share):
            yield from _turns(number, sample, image_folder(path), among)


def _turns(number: int, sample: Sample, folder: Path, among: Known) -> Iterator[HeldOutRow]:
    earlier: Question = ()
    document = document_of(sample.images[0][0])
    for at, (prompt, truth) in enumerate(sample.turns):
        images = tuple(folder / name for name, turn in sample.images if turn == at)
        task = task_of(prompt, among)
        yield HeldOutRow(number, images, prompt, truth, task.name, earlier, task.measure, document)
        earlier = (*earlier, Turn(images, prompt, truth))


def drawn(
    path: Path, form: Format, most: int, among: Known = BUILT_IN, dev_share: float = 0.0
) -> tuple[list[HeldOutRow], int]:
    """(the rows that are read, in the file's order; how many there are): all, or a sample of ``most``.

    The sample is stratified by task, script and length of the truth: each of these has its share, and one row where
    there is room. Which rows stand for a class is decided by a hash of their content, so that the same rows are drawn
    again, in whatever order they stand, and a file that grows keeps most of them. A smaller sample is a part of a
    larger one. ``dev_share``: see :func:`questions`.
    """
    first: list[HeldOutRow] = []
    count = 0
    for count, row in enumerate(questions(path, form, among, dev_share), 1):
        if count <= most:
            first.append(row)
    if count <= most:
        return first, count
    classes = [_class(row) for row in questions(path, form, among, dev_share)]
    chosen = set(_interleaved(range(count), classes)[:most])
    return [row for at, row in enumerate(questions(path, form, among, dev_share)) if at in chosen], count


def with_files(rows: Sequence[HeldOutRow], files: Callable[[Sequence[str]], Sequence[str]]) -> list[HeldOutRow]:
    """The rows with other files for their images.

    Args:
        files: the file for each image, by its path.
    """
    names = list(dict.fromkeys(str(path) for row in rows for path in row.shown))
    other = {name: Path(file) for name, file in zip(names, files(names), strict=True) if file != name}
    if not other:
        return list(rows)

    def seen(images: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(other.get(str(path), path) for path in images)

    return [
        replace(
            row,
            images=seen(row.images),
            earlier=tuple(turn._replace(images=seen(turn.images)) for turn in row.earlier),
        )
        for row in rows
    ]


class _Class(NamedTuple):
    task: str
    script: str
    length: str
    hash: bytes


def _class(row: HeldOutRow) -> _Class:
    content = repr(([path.name for path in row.shown], row.prompt, row.truth))
    digest = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return _Class(row.task, metrics.script(row.truth), metrics.length(row.truth), digest)


_LEVELS: tuple[Callable[[_Class], Hashable], ...] = (lambda c: c.task, lambda c: c.script, lambda c: c.length)


def _interleaved(rows: Sequence[int], classes: Sequence[_Class], level: int = 0) -> list[int]:
    """The rows in such an order that every beginning of it has each class by its share, and each class early."""
    if level == len(_LEVELS):
        return sorted(rows, key=lambda row: classes[row].hash)
    groups: dict[Hashable, list[int]] = {}
    for row in rows:
        groups.setdefault(_LEVELS[level](classes[row]), []).append(row)
    placed = [
        (rank / len(group), classes[row].hash, row)
        for group in groups.values()
        for rank, row in enumerate(_interleaved(group, classes, level + 1))
    ]
    return [row for _, _, row in sorted(placed)]


def standing_for(rows: Sequence[HeldOutRow], most: int) -> list[HeldOutRow]:
    """A few rows that stand for all: of each kind (task, no image, one or several, one turn or more) by turns, and of
    a kind by script and length of the truth.
    """
    classes = [_class(row) for row in rows]
    kinds: dict[str, list[int]] = {}
    for at in _interleaved(range(len(rows)), classes):
        kinds.setdefault(kind_of(rows[at]), []).append(at)
    by_turns = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return [rows[at] for turn in by_turns for at in turn if at is not None][:most]


def kind_of(row: HeldOutRow) -> str:
    """What is asked for and shown: ``ocr``; ``ocr, several images``; ``table, no image, later turn``."""
    images = {0: ", no image", 1: ""}.get(len(row.shown), ", several images")
    return f"{row.task}{images}{', later turn' if row.earlier else ''}"
