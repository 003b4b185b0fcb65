"""What a layout is, and what it makes of a source: rows as people wrote them, before images are placed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sft.dataset.rows import Format
from sft.dataset.tasks import BUILT_IN, find
from sft.families import Task

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".tif", ".tiff")  # of images that are taken
MAX_FILE = 1 << 30  # bytes of a text or JSON file that is read as a whole
HEAD = 1 << 16  # bytes by which a file is recognised


@dataclass(frozen=True)
class Options:
    """How a source is read.

    Attributes:
        task: ocr, table, formula, chart, spotting, seal, or a prompt: for rows that have none of their own.
        image_column, text_column: of records, where they have no rows in a format of ours; empty: the usual names.
        encoding: of text files; empty: UTF-8, or what a byte order mark says.
        split: take only this split of a folder (train, validation, test), or ``all`` together.
        images: where the images lie, if not beside the file that names them.
        skip: leave out, and count, what cannot be used.
    """

    form: Format = "erniekit"
    task: str = "ocr"
    image_column: str = ""
    text_column: str = ""
    force: bool = False
    encoding: str = ""
    split: str = ""
    images: Path | None = None
    skip: bool = False

    @property
    def asked(self) -> Task:
        """The task, which may be named or be a prompt."""
        return find(self.task, BUILT_IN) or Task("other", self.task)

    @property
    def prompt(self) -> str:
        """What is asked."""
        return self.asked.prompt


@dataclass(frozen=True)
class Picture:
    """An image as a source names it: a path, an address or a data: URI; or its bytes, with a name if there is one."""

    name: str = ""
    content: bytes | None = None
    turn: int = 0


@dataclass(frozen=True)
class Places:
    """An answer that is texts and where they stand: (text, corners in px of the row's first image)."""

    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]


@dataclass(frozen=True)
class Found:
    """One row. ``turns`` are (prompt, answer): an empty prompt becomes the task's, an answer is checked later."""

    where: str
    images: tuple[Picture, ...]
    turns: tuple[tuple[str, Any], ...]
    notes: tuple[str, ...] = ()
    base: Path | None = None  # where its relative paths start


@dataclass(frozen=True)
class Problem:
    """Something that cannot be used; it stops the import unless the user skips such entries."""

    where: str
    says: str


@dataclass(frozen=True)
class Note:
    """Something left out or changed on purpose; notes that say the same are counted together."""

    says: str
    where: str = ""


Entry = Found | Problem | Note


class Unusable(ValueError):
    """An entry cannot be used; the text says why."""


@dataclass
class Source:
    """A file or folder to import; what is read to recognise it is read once."""

    path: Path
    options: Options = field(default_factory=Options)
    _head: bytes | None = None
    known: dict[str, Any] | None = None  # the first record, once it was read (records.first)

    @property
    def name(self) -> str:
        """The file's name, in lower case, without the suffix of a compression."""
        return self.path.name.lower().removesuffix(".gz").removesuffix(".zst")

    @property
    def head(self) -> bytes:
        """The first bytes of a file; none of a folder."""
        if self._head is None:
            self._head = b""
            if self.path.is_file():
                with self.path.open("rb") as file:
                    self._head = file.read(HEAD)
        return self._head


@dataclass(frozen=True)
class Layout:
    """One way in which people lay out images and texts.

    Attributes:
        name: as a message says it.
        looks: how to tell it, for people.
        recognise: is the source laid out so?
        read: its rows; None: it is named only.
        way_out: what to do about one that is named only; ``{path}`` is the source.
    """

    name: str
    looks: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source], Iterator[Entry]] | None = None
    way_out: str = ""
