"""Setting rows aside: which ones is decided by a hash of their document, so that a grown file keeps its split."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sft.dataset import rows
from sft.dataset.documents import document_of
from sft.dataset.lines import numbered
from sft.dataset.reading import detect_file
from sft.dataset.tasks import BUILT_IN, Known, task_of
from sft.dataset.writing import replacing
from sft.errors import DatasetError, InputError

FEW = 20  # held-out rows of a task below which its score says little
SKEWED = 2  # times the wanted share, or that part of it, that is worth a word


PART = "part"  # the same where it is decided whether it is trained on
DEV = "dev"  # in front of a document's name where it is decided whether it is a dev one


@dataclass
class Split:
    """How many rows went where, by task; ``notes`` say what a small or lopsided set cannot give."""

    train: Counter[str] = field(default_factory=Counter)
    held_out: Counter[str] = field(default_factory=Counter)
    dev: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def group_of(sample: rows.Sample, pattern: re.Pattern[str] | None) -> str:
    """The document of a row: that of its first image."""
    return document_of(sample.images[0][0], pattern)


def place(group: str, seed: int) -> float:
    """Where a document lies in [0, 1): the first of them, up to the wanted share, are held out."""
    digest = hashlib.blake2b(f"{seed}\0{group}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def is_dev(sample: rows.Sample, share: float, seed: int = 0, pattern: re.Pattern[str] | None = None) -> bool:
    """Is the row a dev one, where a ``share`` of the documents are? By another hash than the held-out ones."""
    return share > 0 and place(f"{DEV}\0{group_of(sample, pattern)}", seed) < share


def in_part(sample: rows.Sample, part: float) -> bool:
    """Is the row trained on, where so large a part of the documents is? A smaller part lies in a larger one."""
    return part >= 1 or place(f"{PART}\0{group_of(sample, None)}", 0) < part


def split(
    source: Path,
    train: Path,
    held_out: Path,
    dev: Path | None = None,
    *,
    share: float = 0.1,
    dev_share: float = 0.1,
    seed: int = 0,
    pattern: str = "",
    force: bool = False,
    among: Known = BUILT_IN,
) -> Split:
    """Write each row of ``source`` to ``train``, ``held_out`` or ``dev``, which belong into its folder.

    Pages of one document, and parts cut from them, stay together. A task of which less than the share would be held
    out (small sets) gives its document with the smallest hash, so that every task is measured; one that has a single
    document keeps it for training. A row that is held out stays so when rows are added, as long as share and seed are
    the same.

    Args:
        dev: what chooses among checkpoints: None for no such set.
        share: of the documents that are held out, 0 to 1.
        dev_share: of the other documents that are dev ones, 0 to 1.
        pattern: regular expression whose first group is the document in an image's path; empty:
            :func:`sft.dataset.documents.document_of` decides.
        among: the tasks that there are, by their prompts.
    Raises:
        DatasetError: a row is broken; nothing is written.
        InputError: share or pattern cannot be used, there is only one document, or a file exists.
    """
    for option, given in (("--held-out", share), ("--dev", dev_share)):
        if not 0 < given < 1:
            raise InputError("the share lies between 0 and 1", where=option, value=str(given))
    try:
        compiled = re.compile(pattern) if pattern else None
    except re.error as error:
        raise InputError(f"no regular expression: {error}", where="--group", value=pattern) from error
    form, found = detect_file(source), Split()
    tasks = _tasks(source, form, compiled, seed, among)
    is_held = _chosen(tasks, share)
    broken: list[str] = []
    with ExitStack() as open_files:
        kept, aside, chooses = (
            open_files.enter_context(replacing(path, force=force)) if path is not None else None
            for path in (train, held_out, dev)
        )
        assert kept is not None
        assert aside is not None
        for number, line in numbered(source):
            sample = rows.decode(line, form)
            if sample is None:
                broken.append(f"{source}:{number}")
                continue
            at = place(group_of(sample, compiled), seed)
            out = is_held(at)
            target, counts = (aside, found.held_out) if out else (kept, found.train)
            if not out and chooses is not None and is_dev(sample, dev_share, seed, compiled):
                target, counts = chooses, found.dev
            target.write(line.rstrip(b"\r\n") + b"\n")
            counts[task_of(sample.turns[0][0], among).name] += 1
        if broken:
            said = f"{len(broken)} rows are broken, so that nothing is written: {', '.join(broken[:5])}"
            raise DatasetError(said, remedy=f"sft validate {source}")
        if not found.train or not found.held_out:
            raise _too_few(source, tasks, pattern)
        if dev is not None and not found.dev:
            said, remedy = "none of the documents is a dev one", "raise --dev, add documents, or choose another --seed"
            raise InputError(said, where=str(source), value=f"--dev {dev_share:g}", remedy=remedy)
    found.notes = list(_notes(found, tasks, share))
    return found


def _too_few(source: Path, tasks: dict[str, _Documents], pattern: str) -> InputError:
    """The error for a set of which nothing can be both trained and held out."""
    names = list(dict.fromkeys(name[:80] for found in tasks.values() for name in (found.least[1], found.most[1])))
    remedy = "add documents, give a --group that tells them apart, or hold out whole files"
    said = "all rows belong to one document"
    if len(names) > 1:
        said = "no task has documents for both sets, so that each could only be trained or only be measured"
    value = ", ".join(names[:3]) + (f" by {pattern}" if pattern else "")
    return InputError(said, where=str(source), value=value, remedy=remedy)


def _notes(found: Split, tasks: dict[str, _Documents], share: float) -> Iterator[str]:
    """What cannot be split sensibly, a line each."""
    for task in sorted(tasks):
        held, kept = found.held_out[task], found.train[task]
        if not held:
            yield f"{task}: its {kept} rows are of one document, or of none to spare: it is trained and not measured"
        elif not kept:
            yield f"{task}: its {held} rows are of documents that are held out: it is measured and not trained"
        elif held < FEW:
            remedy = "add documents, or raise --held-out"
            yield f"{task}: {held} rows are held out: below {FEW} a score says little; {remedy}"
    held, total = found.held_out.total(), found.train.total() + found.held_out.total() + found.dev.total()
    if total >= FEW and not share / SKEWED <= held / total <= share * SKEWED:
        part = f"{100 * held / total:.0f} % of the rows are held out, not {100 * share:.0f} %"
        yield f"{part}: documents differ in size, or are few"


@dataclass
class _Documents:
    """Of a task: the places and names of the documents with the smallest and the largest hash."""

    least: tuple[float, str] = (1.0, "")
    most: tuple[float, str] = (-1.0, "")

    def add(self, at: float, name: str) -> None:
        """Take one more row's document into account."""
        if at < self.least[0]:
            self.least = at, name
        if at > self.most[0]:
            self.most = at, name


def _tasks(
    source: Path, form: rows.Format, pattern: re.Pattern[str] | None, seed: int, among: Known
) -> dict[str, _Documents]:
    """The documents of each task."""
    tasks: dict[str, _Documents] = {}
    for _, line in numbered(source):
        sample = rows.decode(line, form)
        if sample is not None:
            group = group_of(sample, pattern)
            tasks.setdefault(task_of(sample.turns[0][0], among).name, _Documents()).add(place(group, seed), group)
    return tasks


def _chosen(tasks: dict[str, _Documents], share: float) -> Callable[[float], bool]:
    """Is the document at this place held out? All its rows are, whatever their tasks."""
    least = {found.least[0] for found in tasks.values() if found.least[0] != found.most[0]}
    # One document at least stays for training: the only one of a task, or that with the largest hash.
    kept = {found.most[0] for found in tasks.values()} - least
    return lambda at: (at < share or at in least) and at not in kept
