"""The rows that a trainer is given: the training set without dev rows, other sets mixed in, in the engine's format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from sft.context import Context
from sft.dataset import mixing
from sft.dataset.reading import image_folder, read_samples
from sft.dataset.rows import Format, Sample, to_erniekit, to_messages
from sft.dataset.split import in_part, is_dev
from sft.jobs.placed_rows import DatasetPlace, MixedPlace

TOGETHER = 1000  # rows whose images are looked at together
Placed = tuple[Path, Sample]  # the folder of a row's images, the row


def training_rows(place: DatasetPlace, context: Context) -> Iterator[Placed]:
    """The rows of a training, in the order of the file; those of other sets stand evenly among them."""
    path = place.folder(context) / place.train
    rows = placed(path, place.train_format, place.dev_share, place.part)
    if not place.mix:
        return rows
    total = sum(1 for _ in placed(path, place.train_format, place.dev_share, place.part))
    wanted = mixing.counts(total, {name: mixed.share for name, mixed in place.mix.items()})
    others = [(_taken(place, mixed, wanted[name], context), wanted[name]) for name, mixed in place.mix.items()]
    return mixing.woven(rows, total, others)


def placed(path: Path, form: Format, dev_share: float = 0.0, part: float = 1.0) -> Iterator[Placed]:
    """The rows of a file, of a ``part`` of its documents; without those that are dev ones."""
    folder = image_folder(path)
    for sample in read_samples(path, form):
        if not is_dev(sample, dev_share) and in_part(sample, part):
            yield folder, sample


def _taken(place: DatasetPlace, mixed: MixedPlace, count: int, context: Context) -> Iterator[Placed]:
    """``count`` rows of a set that is mixed in; one that has fewer gives them more than once, pass after pass."""
    path = place.folder(context) / mixed.file
    times = mixing.times([mixing.key(sample) for sample in read_samples(path, mixed.format)], count)
    for turn in range(max(times, default=0)):
        for row, often in zip(placed(path, mixed.format), times):
            if often > turn:
                yield row


def engine_rows(
    rows: Iterable[Placed], target: Format, seen: Callable[[list[str]], list[str]] = list
) -> Iterator[bytes]:
    """The rows as JSON in the ``target`` format; image paths become absolute.

    Args:
        seen: the files that a trainer may read instead of the images, many at a time.
    """
    write = to_messages if target == "messages" else to_erniekit
    left = iter(rows)
    while block := list(islice(left, TOGETHER)):
        names = iter(seen([str(folder / name) for folder, sample in block for name, _ in sample.images]))
        for _, sample in block:
            images = tuple((next(names), turn) for _, turn in sample.images)
            yield msgspec.json.encode(write(Sample(images, sample.turns)))
