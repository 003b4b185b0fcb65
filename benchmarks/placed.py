"""A dataset that is validated where it lies, by several containers: as the local report, and in what time?

Containers are processes of the local adapter, each with an interpreter of its own, on the cores of this machine: what
it shows is what sharing out and merging cost, not what more machines bring.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from PIL import Image

from benchmarks.harness import Figure
from benchmarks.sizes import size
from compute.local import LocalCompute
from runs.waiting import follow
from sft.dataset.columns import erniekit_row
from sft.dataset.findings import Report
from sft.dataset.settings import DatasetConfig
from sft.dataset.told import report_of
from sft.dataset.validate import validate
from sft.jobs.scan_rows import PlacedFiles, Room, ScanArgs, limits_of

ROWS = size(200_000, 4_000)
HELD_OUT = ROWS // 20
CONTAINERS = 4
KINDS = 2_000  # different images
ROOM = Room(family="tiny", model="none", max_seq_len=16384, enlarges=1.0, answer=4096)
FILES = PlacedFiles(root="pages", train="train.jsonl", held_out="held_out.jsonl")


def write(folder: Path) -> None:
    """Rows with an image file each; one in a hundred is broken, and some images are in both files."""
    images = []
    for _ in range(KINDS):
        buffer = io.BytesIO()
        Image.effect_noise((96, 32), 60).save(buffer, "PNG")
        images.append(buffer.getvalue())
    encode = msgspec.json.Encoder().encode
    for file, first, count in (("train", 0, ROWS), ("held_out", ROWS, HELD_OUT)):
        with (folder / f"{file}.jsonl").open("wb") as rows:
            for number in range(first, first + count):
                name = f"images/{number // 1000}/{number}.png"
                if number % 1000 == first % 1000:
                    (folder / name).parent.mkdir(parents=True)
                if number % 100:
                    (folder / name).write_bytes(images[number * 7 % KINDS])
                rows.write(encode(erniekit_row("OCR:", f"line {number % 90_000} of a page", name)) + b"\n")


def shared(compute: LocalCompute) -> Report:
    """The report of several calls."""
    every = [
        ScanArgs(files=FILES, dataset=DatasetConfig(workers=1), room=ROOM, share=n, shares=CONTAINERS)
        for n in range(CONTAINERS)
    ]
    calls = [compute.start("scan_rows", args.model_dump()) for args in every]
    with ThreadPoolExecutor(CONTAINERS) as pool:
        list(pool.map(lambda call: follow(compute, call, lambda line: None), calls))
    merging = compute.start("merge_scans", every[0].model_dump())
    return report_of(follow(compute, merging, lambda line: None)["report"])


def figures() -> Iterator[Figure]:
    """Wall time against a single reader that uses all cores."""
    with tempfile.TemporaryDirectory() as name:
        compute = LocalCompute(Path(name) / "state")
        folder = compute.volumes.data / FILES.root
        folder.mkdir(parents=True)
        write(folder)
        limits = limits_of(ROOM, compute.volumes.models / ROOM.model)

        def alone() -> Report:
            return validate(folder / FILES.train, folder / FILES.held_out, DatasetConfig(), limits)

        alone()  # the files are in the system's cache for both
        began = time.perf_counter()
        merged = shared(compute)
        between = time.perf_counter()
        single = alone()
        ours, reference = between - began, time.perf_counter() - between
    equal = merged == single and merged.errors > 0
    question = f"validation of {ROWS + HELD_OUT:,} image rows on {CONTAINERS} simulated containers"
    yield Figure(question, ours, reference, "s (one process tree, all cores)", "equal report", equal)
