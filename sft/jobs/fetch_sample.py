"""Job ``fetch_sample``: a public sample set on the data volume; its images, given by address, become files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import msgspec
from pydantic import BaseModel, ConfigDict

from sft import records
from sft.config.model import DatasetConfig
from sft.dataset import rows
from sft.dataset.validate import detect_file, read_samples, validate
from sft.download import download, is_private
from sft.errors import DatasetError, SftError
from sft.jobs.base import Context, Job

MAX_ROWS_FILE = 2 * 10**9  # bytes
MAX_IMAGE = 50 * 10**6  # bytes
WORKERS = 16  # downloads at the same time
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

_BENGALI = "https://paddleformers.bj.bcebos.com/datasets/ocr_vl_sft"
SAMPLES = {"bengali": {"train": f"{_BENGALI}-train_Bengali.jsonl", "held_out": f"{_BENGALI}-test_Bengali.jsonl"}}


class SampleArgs(BaseModel):
    """``train`` and ``held_out`` are addresses of JSONL files; ``max_rows`` of each are taken (0: all)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    train: str
    held_out: str
    max_rows: int = 0


def fetch_sample(args: SampleArgs, context: Context) -> dict[str, Any]:
    """Fetch rows and images to ``/data/samples/NAME``, validate them, write the record last.

    Returns: the record: the validator's report, ``files`` and ``volume``. Files that are there are not fetched again.
    Raises:
        DatasetError: an image could not be fetched, or a row is broken; a part of the set never counts as the set.
        InputError, IntegrityError, TransientError: a JSONL file could not be fetched.
    """
    folder = context.volumes.data / "samples" / args.name
    record = records.read_record(folder)
    if record is not None:
        return {**record, "fetched": False}
    for name, url in (("train", args.train), ("held_out", args.held_out)):
        source = folder / f".{name}.source.jsonl"
        if not source.exists():
            download(url, source, max_bytes=MAX_ROWS_FILE)
        _localise(source, folder, name, args, context)
        context.commit()
    report = validate(folder / "train.jsonl", folder / "held_out.jsonl", DatasetConfig())
    report.check()
    files = {"train": "train.jsonl", "held_out": "held_out.jsonl"}
    finished = {**report.as_dict(), "files": files, "volume": f"samples/{args.name}"}
    records.write_record(folder, finished)
    context.commit()
    return {**finished, "fetched": True}


def _localise(source: Path, folder: Path, name: str, args: SampleArgs, context: Context) -> None:
    """Write ``name.jsonl`` with the rows of ``source``, their images fetched into ``folder/images``."""
    form = detect_file(source)
    samples = list(_first(read_samples(source, form), args.max_rows))
    addresses = sorted({image for sample in samples for image, _ in sample.images if "://" in image})
    failed: list[str] = []
    trusted = is_private(args.train)  # a set from a private host may name images there; a public one may not
    with ThreadPoolExecutor(WORKERS) as pool:
        for number, problem in enumerate(pool.map(lambda url: _fetch(url, folder, trusted=trusted), addresses), 1):
            if problem:
                failed.append(problem)
            if number % 500 == 0:
                context.event("download", file=f"{name} images", bytes=number, total=len(addresses))
    if failed:
        raise DatasetError(
            f"{len(failed)} of {len(addresses)} images could not be fetched, so that the set does not count",
            where=name,
            value="; ".join(failed[:3]),
            remedy="run again: what has arrived is kept",
        )
    write = rows.to_erniekit if form == "erniekit" else rows.to_messages
    with (folder / f"{name}.jsonl").open("wb") as file:
        for sample in samples:
            images = tuple((_local(image) if "://" in image else image, turn) for image, turn in sample.images)
            file.write(msgspec.json.encode(write(rows.Sample(images, sample.turns))) + b"\n")


def _first(samples: Iterator[rows.Sample], count: int) -> Iterator[rows.Sample]:
    for number, sample in enumerate(samples):
        if count and number >= count:
            return
        yield sample


def _local(url: str) -> str:
    """The image's file: named by the hash of its address, so that two images never share a name."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    name = hashlib.sha256(url.encode()).hexdigest()[:24] + (suffix if suffix in SUFFIXES else ".img")
    return f"images/{name[:2]}/{name}"


def _fetch(url: str, folder: Path, *, trusted: bool) -> str:
    """Fetch one image unless it is there; returns what went wrong, or an empty text."""
    target = folder / _local(url)
    if target.exists():
        return ""
    try:
        download(url, target, max_bytes=MAX_IMAGE, trusted=trusted)
    except SftError as error:
        return f"{url}: {error.message}"
    return ""


def sample_args(name: str) -> SampleArgs:
    """The arguments of a known sample set.

    Raises:
        KeyError: there is none of that name.
    """
    return SampleArgs(name=name, **json.loads(json.dumps(SAMPLES[name])))


FETCH_SAMPLE = Job("fetch_sample", SampleArgs, fetch_sample)
