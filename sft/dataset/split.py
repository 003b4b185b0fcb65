"""Setting rows aside: which ones is decided by a hash of their document, so that a grown file keeps its split."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sft.dataset import rows
from sft.dataset.lines import numbered
from sft.dataset.reading import detect_file
from sft.dataset.writing import replacing
from sft.errors import DatasetError, InputError

# doc7_page_3.png, doc7.p3.jpg, and doc7-03.png as pdftoppm writes it → doc7. Every other name is a document of its own:
# scan_0001.png and scan_0002.png may be anything.
PAGE = r"^(.*?[^\d_./-].*?)(?:[-_. ]+(?:p|pg|page|seite)[-_. ]*|-)\d{1,4}\.\w+$"


@dataclass
class Split:
    """How many rows went where, by task."""

    train: Counter[str] = field(default_factory=Counter)
    held_out: Counter[str] = field(default_factory=Counter)


def group_of(sample: rows.Sample, pattern: re.Pattern[str]) -> str:
    """The document of a row: the first group of the pattern in its first image's path, or the whole path."""
    name = sample.images[0][0]
    match = pattern.match(name)
    return (match.group(1) if match and match.groups() else name).removeprefix("./")


def place(group: str, seed: int) -> float:
    """Where a document lies in [0, 1): the first of them, up to the wanted share, are held out."""
    digest = hashlib.blake2b(f"{seed}\0{group}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split(
    source: Path,
    train: Path,
    held_out: Path,
    *,
    share: float = 0.1,
    seed: int = 0,
    pattern: str = PAGE,
    force: bool = False,
) -> Split:
    """Write each row of ``source`` to ``train`` or ``held_out``, which belong into its folder.

    Pages of one document stay together. A task of which less than the share would be held out (small sets) gives its
    document with the smallest hash, so that every task is measured. A row that is held out stays so when rows are
    added, as long as share and seed are the same.

    Args:
        share: of the documents that are held out, 0 to 1.
        pattern: regular expression whose first group is the document in an image's path.
    Raises:
        DatasetError: a row is broken; nothing is written.
        InputError: share or pattern cannot be used, there is only one document, or a file exists.
    """
    if not 0 < share < 1:
        raise InputError("the share of held-out rows lies between 0 and 1", where="--share", value=str(share))
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"no regular expression: {error}", where="--group", value=pattern) from error
    form, found = detect_file(source), Split()
    least = _thresholds(source, form, compiled, share, seed)
    broken: list[str] = []
    with replacing(train, force=force) as kept, replacing(held_out, force=force) as aside:
        for number, line in numbered(source):
            sample = rows.decode(line, form)
            if sample is None:
                broken.append(f"{source}:{number}")
                continue
            at = place(group_of(sample, compiled), seed)
            out = at < least(sample.task)
            (aside if out else kept).write(line.rstrip(b"\r\n") + b"\n")
            (found.held_out if out else found.train)[sample.task] += 1
        if broken:
            said = f"{len(broken)} rows are broken, so that nothing is written: {', '.join(broken[:5])}"
            raise DatasetError(said, remedy=f"sft validate {source}")
        if not found.train or not found.held_out:
            remedy = "give a --group that tells documents apart, or hold out whole files"
            raise InputError("all rows belong to one document", where=str(source), value=pattern, remedy=remedy)
    return found


def _thresholds(
    source: Path, form: rows.Format, pattern: re.Pattern[str], share: float, seed: int
) -> Callable[[str], float]:
    """The bound of each task: the share, or just above its smallest document."""
    smallest: dict[str, float] = {}
    for _, line in numbered(source):
        sample = rows.decode(line, form)
        if sample is not None:
            at = place(group_of(sample, pattern), seed)
            smallest[sample.task] = min(at, smallest.get(sample.task, 1.0))
    bounds = {task: max(share, at + 2**-53) for task, at in smallest.items()}
    return lambda task: bounds.get(task, share)
