"""Job ``fetch_sample``: a public sample set on the data volume; its images, given by address, become files."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.dataset.remote import localise
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate
from sft.download import download, is_private
from sft.errors import InputError
from sft.jobs.base import Job
from sft.store import records

MAX_ROWS_FILE = 2 * 10**9  # bytes

_BENGALI = "https://paddleformers.bj.bcebos.com/datasets/ocr_vl_sft"
SAMPLES = {"bengali": {"train": f"{_BENGALI}-train_Bengali.jsonl", "held_out": f"{_BENGALI}-test_Bengali.jsonl"}}


def check_sample(name: str) -> None:
    """Raises InputError if there is no sample set of that name."""
    if name not in SAMPLES:
        raise InputError("no such sample set", value=name, remedy=f"use {', '.join(SAMPLES)}")


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

        def said(done: int, total: int, name: str = name) -> None:
            context.event("download", file=f"{name} images", bytes=done, total=total)

        # A set from a private host may name images there; a public one may not.
        target, trusted = folder / f"{name}.jsonl", is_private(args.train)
        localise(source, target, max_rows=args.max_rows, trusted=trusted, said=said)
        context.commit()
    report = validate(folder / "train.jsonl", folder / "held_out.jsonl", DatasetConfig(workers=1))
    report.check()
    files = {"train": "train.jsonl", "held_out": "held_out.jsonl"}
    finished = {**report.as_record(), "files": files, "volume": f"samples/{args.name}"}
    records.write_record(folder, finished)
    context.commit()
    return {**finished, "fetched": True}


def sample_args(name: str) -> SampleArgs:
    """The arguments of a known sample set.

    Raises:
        KeyError: there is none of that name.
    """
    return SampleArgs(name=name, **json.loads(json.dumps(SAMPLES[name])))


FETCH_SAMPLE = Job("fetch_sample", SampleArgs, fetch_sample)
