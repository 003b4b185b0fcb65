"""The validator: reads a training and a held-out set as a stream, counts every breach, keeps the first few of each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sft.config.model import DatasetConfig
from sft.dataset import images, rows
from sft.dataset.images import ImageFacts
from sft.dataset.rules import MAX_LINE, RULES
from sft.errors import DatasetError


@dataclass
class Finding:
    """One breach: ``where`` is file:line."""

    rule: str
    where: str
    value: str


@dataclass
class SplitStats:
    """Facts of one file. Lengths are counted in characters, sizes in px; a Counter is value → rows."""

    path: str
    format: rows.Format = "erniekit"
    rows: int = 0
    images: int = 0
    bytes: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    fingerprint: str = ""

    def summary(self) -> dict[str, Any]:
        """The facts as plain data; each Counter of numbers as its smallest, median and largest value."""
        values = {key: getattr(self, key) for key in ("path", "format", "rows", "images", "bytes", "fingerprint")}
        spreads = {key: spread(getattr(self, key)) for key in ("lengths", "widths", "heights")}
        return {**values, "tasks": dict(self.tasks), **spreads}


def spread(counts: Counter[int]) -> list[int]:
    """[smallest, median, largest] of a Counter of numbers; zeros where it is empty."""
    middle, seen = (counts.total() + 1) // 2, 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= middle:
            return [min(counts), value, max(counts)]
    return [0, 0, 0]


@dataclass
class Report:
    """The result for both files. ``counts`` has every breach, ``shown`` the first ones of each rule."""

    train: SplitStats
    held_out: SplitStats
    counts: Counter[str] = field(default_factory=Counter)
    shown: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """Breaches of rules that are errors."""
        return sum(count for rule, count in self.counts.items() if RULES[rule].error)

    @property
    def fingerprint(self) -> str:
        """Identity of the dataset: the content of every row and image of both files, in order."""
        return hashlib.sha256(f"{self.train.fingerprint}{self.held_out.fingerprint}".encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        splits = {"train": self.train.summary(), "held_out": self.held_out.summary()}
        shown = [asdict(finding) for finding in self.shown]
        return {**splits, "fingerprint": self.fingerprint, "counts": dict(self.counts), "shown": shown}

    def lines(self) -> list[str]:
        """The findings as text: for each rule its count, what it says, the first places and the remedy."""
        text = []
        for rule, count in sorted(self.counts.items(), key=lambda item: not RULES[item[0]].error):
            kind = "error" if RULES[rule].error else "warning"
            text.append(f"{kind} {rule} ({count} ×): the rule is that {RULES[rule].says}")
            text += [f"    {f.where}: found {f.value}" for f in self.shown if f.rule == rule]
            text.append(f"    next: {RULES[rule].remedy}")
        return text

    def check(self) -> None:
        """Raises DatasetError with all findings if one of them is an error."""
        if self.errors:
            raise DatasetError(
                f"{self.errors} error{'s' if self.errors > 1 else ''} in the dataset, so that nothing is trained:\n"
                + "\n".join(self.lines())
                + "\n",
                remedy="correct the rows named above; sft validate PATH checks a file by itself",
            )


class Validator:
    """Reads files and gathers what it finds. One instance sees both splits, so that it can compare them.

    Memory: 8 bytes and a set entry for each row and each held-out image; nothing of the rows themselves.
    """

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        self.shown: list[Finding] = []
        self._rows: dict[str, set[int]] = {}
        self._images: dict[str, set[int]] = {}

    def read(self, path: Path, split: str, *, others: tuple[str, ...] = ()) -> SplitStats:
        """Read one file.

        Args:
            split: its name, such as ``train``.
            others: splits read before, with which this one must share nothing.
        Raises:
            DatasetError: the file is missing, not a file, or empty.
        """
        form = self._open(path)
        stats = SplitStats(str(path), form)
        root = path.resolve().parent
        digest = hashlib.sha256()
        for number, line in _lines(path):
            where = f"{path}:{number}"
            stats.bytes += len(line)
            sample = rows.decode(line, form) if len(line) <= MAX_LINE else None
            if sample is None:
                self._explain(line, form, where)
                continue
            facts = self._look(root, sample, where)
            if len(facts) < len(sample.images):
                continue
            content = repr((sample.turns, [f.sha256 for f in facts], [turn for _, turn in sample.images]))
            digest.update(content.encode())
            self._compare(split, others, where, content, facts)
            _count(stats, sample, facts)
        stats.fingerprint = digest.hexdigest()
        return stats

    def _open(self, path: Path) -> rows.Format:
        if not path.is_file():
            raise DatasetError(
                "the dataset file does not exist", where=str(path), remedy="correct dataset.train/held_out"
            )
        first = next((line for _, line in _lines(path)), None)
        if first is None:
            raise DatasetError("the dataset file is empty", where=str(path), remedy="write one JSON object per line")
        if self.config.format != "auto":
            return self.config.format
        return rows.detect(first) or "erniekit"

    def _add(self, rule: str, where: str, value: str) -> None:
        self.counts[rule] += 1
        if self.counts[rule] <= self.config.shown:
            self.shown.append(Finding(rule, where, value))

    def _explain(self, line: bytes, form: rows.Format, where: str) -> None:
        if len(line) > MAX_LINE:
            found = [("line-size", f"{len(line)} bytes or more")]
        elif rows.detect(line) not in (form, None):
            found = [("format", f"a row in format {rows.detect(line)} in a file of {form}")]
        else:
            found = rows.breaches(line, form)
        for rule, value in found:
            self._add(rule, where, value)

    def _look(self, root: Path, sample: rows.Sample, where: str) -> list[ImageFacts]:
        found: list[ImageFacts] = []
        bounds = {"max_bytes": self.config.max_image_bytes, "max_pixels": self.config.max_image_pixels}
        for name, _ in sample.images:
            result = images.inspect(root, name, **bounds)
            if isinstance(result, ImageFacts):
                found.append(result)
            else:
                self._add(result[0], where, result[1])
        for prompt, _ in sample.turns:
            near = rows.nearest_prompt(prompt)
            if near is not None:
                self._add("prompt", where, f"{prompt[:60]!r}" + (f", perhaps {near!r}" if near else ""))
        return found

    def _compare(self, split: str, others: tuple[str, ...], where: str, content: str, facts: list[ImageFacts]) -> None:
        row = hash(content)
        seen = self._rows.setdefault(split, set())
        pictures = self._images.setdefault(split, set())
        if row in seen:
            self._add("duplicate", where, "the same images and texts as an earlier row")
        seen.add(row)
        for fact in facts:
            key = int(fact.sha256[:16], 16)
            if any(key in self._images[other] for other in others):
                self._add("leak-image", where, f"an image that is also in {', '.join(others)}")
            pictures.add(key)
        if any(row in self._rows[other] for other in others):
            self._add("leak-row", where, f"a row that is also in {', '.join(others)}")


def _count(stats: SplitStats, sample: rows.Sample, facts: list[ImageFacts]) -> None:
    stats.rows += 1
    stats.images += len(facts)
    stats.tasks[sample.task] += 1
    stats.lengths[len(sample.answer)] += 1
    for fact in facts:
        stats.widths[fact.width] += 1
        stats.heights[fact.height] += 1


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line) of the lines that are not blank; an overlong line comes cut, without being held."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 2):
            number += 1
            tail = line
            while tail and not tail.endswith(b"\n"):
                tail = file.readline(MAX_LINE + 2)
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield number, line


def validate(train: Path, held_out: Path, config: DatasetConfig) -> Report:
    """Validate both files and compare them.

    Raises:
        DatasetError: a file is missing or empty. Breaches inside the files are in the report (see ``Report.check``).
    """
    validator = Validator(config)
    held = validator.read(held_out, "held_out")
    stats = validator.read(train, "train", others=("held_out",))
    return Report(stats, held, validator.counts, validator.shown)


def validate_file(path: Path, config: DatasetConfig) -> Report:
    """Validate one file by itself."""
    validator = Validator(config)
    stats = validator.read(path, "file")
    return Report(stats, SplitStats(""), validator.counts, validator.shown)


def read_samples(path: Path, form: rows.Format) -> Iterator[rows.Sample]:
    """The rows of a file that has been validated.

    Raises:
        DatasetError: a row is broken after all.
    """
    for number, line in _lines(path):
        sample = rows.decode(line, form)
        if sample is None:
            raise DatasetError("the row changed after it was validated", where=f"{path}:{number}", remedy="run again")
        yield sample


def detect_file(path: Path) -> rows.Format:
    """The format of a validated file, by its first row."""
    first = next((line for _, line in _lines(path)), b"")
    return rows.detect(first) or "erniekit"
