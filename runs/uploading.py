"""A validated dataset comes to the data volume, once for each content. Needs no Prefect."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compute.base import Compute
from compute.records import put_json
from runs.results import POINTS
from sft.dataset.files import DatasetFiles
from sft.dataset.findings import Report
from sft.dataset.reading import image_folder, read_samples
from sft.dataset.rows import Format
from sft.store.shards.choosing import ABOVE, Packing, packs
from sft.store.shards.index import FOLDER, INDEX, Place, content, shard_name
from sft.store.shards.writing import planned, size_of, write_shard

Say = Callable[[str], None]
Room = Callable[[list[str]], None]
NAMED = "named"  # folder of the data volume with the names of datasets
BATCH = 1000  # files in one request, between two lines that say how far it is


def upload(
    files: DatasetFiles,
    report: Report,
    compute: Compute,
    say: Say,
    room: Room = lambda paths: None,
    packing: Packing = "auto",
    root: str = "",
) -> int:
    """Upload unless the record is there; returns the number of files sent.

    Args:
        room: is asked, before anything is sent, whether the volume takes these paths.
        packing: are the images packed (see :mod:`sft.store.shards`)?
        root: on the volume; empty: where jobs find such a dataset, which is no copy where they run on this machine.
    """
    names = {key: file.relative_to(files.root).as_posix() for key, file in files.every.items()}
    record = {**report.as_record(), "files": names}
    every = [(file, stats.format) for file, stats in zip(files.every.values(), report.splits, strict=True)]
    root = root or compute.dataset_root(files.root, report.fingerprint)
    return _upload(files.root, every, root, record, compute, say, room, packing)


def copy_of(fingerprint: str) -> str:
    """Where a dataset of this machine lies on the data volume, also where jobs run on this machine: for sets that are
    looked at together with others that lie there.
    """
    return f"datasets/{fingerprint[:16]}"


def name_dataset(compute: Compute, name: str, root: str) -> str:
    """Let a name stand for the dataset at ``root`` from now on; returns what ``dataset.volume`` is to say."""
    place = f"{NAMED}/{name}"
    put_json(compute, "data", f"{place}/record.json", {POINTS: root})
    return place


def upload_file(
    path: Path, report: Report, compute: Compute, say: Say, room: Room, packing: Packing = "auto", root: str = ""
) -> tuple[str, int]:
    """One file of rows and its images, for models that are compared on it; (where a job finds them, files sent).

    Args:
        report: of :func:`sft.dataset.validate.validate_file`.
        root: as :func:`upload` has it.
    """
    found = report.train
    if compute.name == "local" and not root:
        return compute.dataset_root(path.parent, found.fingerprint), 0
    root = root or compute.dataset_root(path.parent, found.fingerprint)
    record = {"file": path.name, "rows": found.rows, "format": found.format, "fingerprint": found.fingerprint}
    return root, _upload(path.parent, ((path, found.format),), root, record, compute, say, room, packing)


def _upload(
    folder: Path,
    files: Sequence[tuple[Path, Format]],
    root: str,
    record: dict[str, Any],
    compute: Compute,
    say: Say,
    room: Room,
    packing: Packing,
) -> int:
    if compute.read("data", f"{root}/record.json") is not None:
        return 0
    sources = _sources(folder, files)
    # Whether the volume takes the files is asked below, and its files are listed for that: only then, or for auto.
    there = compute.entries("data") if packing == "auto" and len(sources) <= ABOVE else None
    if packs(packing, len(sources), there):
        rows = {path.relative_to(folder).as_posix() for path, _ in files}
        packed = _pack({name: path for name, path in sources.items() if name not in rows}, root, compute, say, room)
        sources = {name: path for name, path in sources.items() if name in rows}
    else:
        packed = 0
    pairs = sorted((source, f"{root}/{name}") for name, source in sources.items())
    room([path for _, path in pairs])
    for start in range(0, len(pairs), BATCH):
        compute.put_all("data", pairs[start : start + BATCH])
        say(f"uploaded {min(start + BATCH, len(pairs)):,} of {len(pairs):,} files")
    put_json(compute, "data", f"{root}/record.json", record)
    return packed + len(pairs)


def _pack(images: Mapping[str, Path], root: str, compute: Compute, say: Say, room: Room) -> int:
    """Send images as shards, one after the other: this machine's disk holds one. Those that an upload before has sent
    are packed again and not sent. Returns the number of files.
    """
    shards = planned((name, path.stat().st_size) for name, path in images.items())
    place = f"{root}/{FOLDER}"
    room([f"{place}/{shard_name(number)}" for number in range(len(shards))] + [f"{place}/{INDEX}"])
    there = {file.path: file.size for file in compute.list("data", place)}
    places: list[tuple[str, Place]] = []
    with tempfile.TemporaryDirectory(prefix="sft-shards-") as temporary:
        for number, members in enumerate(shards):
            shard, path = Path(temporary) / shard_name(number), f"{place}/{shard_name(number)}"
            lie = write_shard(shard, members, images, number)
            places += zip([name for name, _ in members], lie)
            if there.get(path) != size_of(members):
                compute.put("data", shard, path)
            shard.unlink()
            say(f"packed {len(places):,} of {len(images):,} images, {number + 1} of {len(shards)} shards are there")
        index = Path(temporary) / INDEX
        index.write_bytes(content([size_of(members) for members in shards], places))
        compute.put("data", index, f"{place}/{INDEX}")
    return len(shards) + 1


def _sources(root: Path, files: Sequence[tuple[Path, Format]]) -> dict[str, Path]:
    """Each file by its name below the folder of all: links keep the names that the rows use."""
    sources: dict[str, Path] = {}
    for path, form in files:
        sources[path.relative_to(root).as_posix()] = path
        folder = image_folder(path)
        for sample in read_samples(path, form):
            for image, _ in sample.images:
                place = os.path.normpath(folder / image)
                sources[os.path.relpath(place, root)] = Path(place)
    return sources
