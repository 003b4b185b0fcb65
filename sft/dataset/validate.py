"""The validator: reads a training and a held-out set as a stream, counts every breach, keeps the first few of each."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sft.dataset import coverage, digests, parts, repeats, rows
from sft.dataset.documents import document_of
from sft.dataset.findings import Finding, Report, SplitStats
from sft.dataset.images import Bounds
from sft.dataset.lines import numbered, ranges
from sft.dataset.packing import looked_at
from sft.dataset.reading import detect_file
from sft.dataset.rules import RULES
from sft.dataset.settings import DatasetConfig
from sft.dataset.tasks import known
from sft.dataset.tokens import Limits
from sft.dataset.workers import scan_all

TEXT_RANGE = 8 << 20  # bytes that a worker takes at once, where only texts are checked
IMAGE_RANGE = 1 << 18  # the same where each row means to look at a file
GUARD = "guard"  # a set by itself that judges
JUDGES = ("held_out", "dev", GUARD)
LEAST_RANGE = 1 << 16
Progress = Callable[[str, int, int, int], None]  # file, bytes done, bytes in all, rows done
# (file, the set's name, how rows are looked at) → (end of the range, what it came to), in the order of the file.
Scans = Callable[[Path, str, parts.Options], Iterator[tuple[int, parts.Part]]]


class Validator:
    """Reads files and gathers what it finds. One instance sees both splits, so that it can compare them.

    Memory does not grow with the rows: hashes of rows and images are spooled to temporary files.

    Args:
        scans: what the ranges of a file came to, where others have read them (:mod:`sft.dataset.shares`).
    """

    def __init__(
        self,
        config: DatasetConfig,
        limits: Limits | None = None,
        progress: Progress = lambda *_: None,
        scans: Scans | None = None,
    ) -> None:
        self.config = config
        self.limits = limits or Limits()
        self.progress = progress
        self._scans = scans or self._scanned
        self.counts: Counter[str] = Counter()
        self.shown: list[Finding] = []
        self._rows: dict[str, repeats.Spool] = {}
        self._pictures: dict[str, repeats.Spool] = {}
        self._documents: dict[str, repeats.Spool] = {}
        self._questions: dict[str, repeats.Spool] = {}

    def read(self, path: Path, split: str, *, images: bool = True, documents: bool = False) -> SplitStats:
        """Read one file.

        Args:
            split: its name, such as ``train``.
            images: look at the image files, too.
            documents: remember which document each row belongs to, for :meth:`compare`.
        Raises:
            DatasetError: the file is missing, not a file, or empty; a compressed one is damaged.
        """
        options, scripts = options_for(path, split, self.config, self.limits, images=images, documents=documents)
        stats = SplitStats(path=str(path), format=options.form, scripts=scripts)
        spool, pictures = self._rows[split], self._pictures[split] = repeats.Spool(), repeats.Spool()
        questions, documents_ = self._questions[split], self._documents[split] = repeats.Spool(), repeats.Spool()
        digest, lines, total = hashlib.sha256(), 0, path.stat().st_size
        for end, part in self._scans(path, split, options):
            for rule, line, value in part.shown:
                self._show(rule, f"{path}:{lines + line}", value)
            self.counts.update(part.counts)
            stats.include(part)
            if images:
                digest.update(part.digests)
            spool.add(part.digests, digests.DIGEST if images else digests.LINE_DIGEST, part.places, lines, part.ordered)
            pictures.add(part.pictures, digests.PICTURE, part.picture_places, lines, bytearray())
            if part.questions:
                keys = repeats.ordered(part.questions, digests.KEY)
                questions.add(part.questions, digests.KEY, part.places, lines, keys)
            if part.documents:
                documents_.add(part.documents, digests.KEY, part.places, lines, bytearray())
            lines += part.lines
            self.progress(split, end, total, stats.rows)
        stats.fingerprint = digest.hexdigest() if images and self.config.images != "headers" else ""
        for said in coverage.dear(stats.scripts):
            if "script-tokens" not in options.off:
                self.counts["script-tokens"] += 1
                self._show("script-tokens", str(path), said)
        self._repeats("duplicate", path, repeats.repeated(spool, self.config.shown), "like an earlier row")
        if questions.count == spool.count:
            self._conflicts(path, questions, spool)
        return stats

    def compare(self, path: Path, split: str, other: str) -> None:
        """Find rows and images of ``split``, which lies at ``path``, that are also in ``other``."""
        shown, value = self.config.shown, f"also in {other}"
        for rule, spools in (("leak-image", self._pictures), ("leak-row", self._rows)):
            self._repeats(rule, path, repeats.shared(spools[split], spools[other], shown), value)
        found = repeats.shared(self._documents[split], self._documents[other], shown)
        names = _documents_at(path, set(found[1]))
        self._found("leak-document", path, found[0], [(line, f"{names[line]}, {value}") for line in found[1]])

    def close(self) -> None:
        """Give the temporary files back."""
        for spools in (self._rows, self._pictures, self._documents, self._questions):
            for spool in spools.values():
                spool.close()

    def _scanned(self, path: Path, split: str, options: parts.Options) -> Iterator[tuple[int, parts.Part]]:
        # Several pieces for each worker, so that none waits long for the last.
        share = max(LEAST_RANGE, path.stat().st_size // (16 * (self.config.workers or os.cpu_count() or 1)))
        pieces = ranges(path, min(share, IMAGE_RANGE if options.images else TEXT_RANGE))
        results = scan_all(path, pieces, options, self.config.workers)
        yield from zip((end for _, end in pieces), results)

    def _show(self, rule: str, where: str, value: str) -> None:
        if sum(finding.rule == rule for finding in self.shown) < self.config.shown:
            self.shown.append(Finding(rule, where, value))

    def _repeats(self, rule: str, path: Path, found: tuple[int, Sequence[int]], value: str) -> None:
        self._found(rule, path, found[0], [(line, value) for line in found[1]])

    def _conflicts(self, path: Path, questions: repeats.Spool, answers: repeats.Spool) -> None:
        count, first = repeats.conflicting(questions, answers, self.config.shown)
        said = [(line, f"the images and prompt of line {before} with another answer") for line, before in first]
        self._found("conflict", path, count, said)

    def _found(self, rule: str, path: Path, count: int, first: Sequence[tuple[int, str]]) -> None:
        if count and self.config.rules.get(rule) != "off":
            self.counts[rule] += count
            for line, value in first:
                self._show(rule, f"{path}:{line}", value)

    def compare_dev(self, path: Path) -> None:
        """Find what the dev set, which lies at ``path``, has in common with the held-out set: nothing is allowed."""
        shown = self.config.shown
        every = [
            repeats.shared(spools["dev"], spools["held_out"], shown)
            for spools in (self._pictures, self._rows, self._documents)
        ]
        # A row that is in both has an image and a document that are: it counts once.
        lines = sorted({line for _, first in every for line in first})[:shown]
        self._repeats("leak-dev", path, (max(count for count, _ in every), lines), "also in held_out")

    def report(
        self,
        train: SplitStats,
        held_out: SplitStats,
        dev: SplitStats | None = None,
        mix: dict[str, SplitStats] | None = None,
    ) -> Report:
        """What was found, with the severities of the configuration."""
        severities = {rule: "error" if RULES[rule].error else "warning" for rule in RULES}
        severities.update(self.config.rules)
        severe = {rule for rule, severity in severities.items() if severity == "error"}
        return Report(train, held_out, dev, mix or {}, self.counts, self.shown, severe)


def options_for(
    path: Path, split: str, config: DatasetConfig, limits: Limits, *, images: bool, documents: bool
) -> tuple[parts.Options, coverage.Costs]:
    """How the file's rows are looked at, and what its scripts cost: on every machine the same."""
    judges = 1.0 if split in JUDGES else config.dev_share if split == "train" else 0.0
    found = detect_file(path)
    look = {"content": config.images != "headers", "decode": config.images == "decode"}
    bounds = Bounds(config.max_image_bytes, config.max_image_pixels, **look)
    form: rows.Format = found if config.format == "auto" else config.format
    off = frozenset(rule for rule, severity in config.rules.items() if severity == "off")
    looked = looked_at(path, form, limits)
    limits = replace(limits, text_bytes=looked.text_bytes)
    tasks = known(config.prompts, limits.tasks)
    return parts.Options(form, bounds, limits, images, off, config.shown, documents, tasks, judges), looked.scripts


def _documents_at(path: Path, lines: set[int]) -> dict[int, str]:
    """The documents of the rows in some lines."""
    found: dict[int, str] = {}
    if lines:
        form = detect_file(path)
        for number, line in numbered(path):
            if number in lines and (sample := rows.decode(line, form)):
                found[number] = f"document {document_of(sample.images[0][0])[:80]}"
            if number >= max(lines):
                break
    return found


def validate(
    train: Path,
    held_out: Path,
    config: DatasetConfig,
    limits: Limits | None = None,
    *,
    dev: Path | None = None,
    mix: Mapping[str, Path] | None = None,
    images: bool = True,
    progress: Progress = lambda *_: None,
    scans: Scans | None = None,
) -> Report:
    """Validate the files and compare them.

    Args:
        dev: a third one, which chooses among checkpoints.
        mix: further ones that are trained on as well, by name.
        limits: what a row may become, in tokens.
        images: look at the image files; without it there is no fingerprint.
        progress: called after each range.
        scans: as :class:`Validator` takes them.
    Raises:
        DatasetError: a file is missing or empty. Breaches inside the files are in the report (see ``Report.check``).
    """
    validator = Validator(config, limits, progress, scans)
    try:
        held = validator.read(held_out, "held_out", images=images, documents=True)
        chooses = None
        if dev is not None:
            chooses = validator.read(dev, "dev", images=images, documents=True)
            validator.compare_dev(dev)
        stats = validator.read(train, "train", images=images, documents=True)
        validator.compare(train, "train", "held_out")
        if dev is not None:
            validator.compare(train, "train", "dev")
        mixed = {}
        for name, path in (mix or {}).items():
            split = f"mix-{name}"  # one may be called train
            mixed[name] = validator.read(path, split, images=images, documents=True)
            validator.compare(path, split, "held_out")
        return validator.report(stats, held, chooses, mixed)
    finally:
        validator.close()


def validate_file(
    path: Path,
    config: DatasetConfig,
    limits: Limits | None = None,
    *,
    images: bool = True,
    judges: bool = False,
    progress: Progress = lambda *_: None,
    scans: Scans | None = None,
) -> Report:
    """Validate one file by itself, whose rows a model may be judged by; see :func:`validate`."""
    validator = Validator(config, limits, progress, scans)
    try:
        return validator.report(validator.read(path, GUARD if judges else "file", images=images), SplitStats())
    finally:
        validator.close()
