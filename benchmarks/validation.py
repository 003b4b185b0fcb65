"""How fast are datasets checked and converted, against bare decoding and other validators, and in how much memory?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import msgspec
import orjson
from PIL import Image

from benchmarks.harness import Figure, turns
from benchmarks.sizes import size
from sft.config.model import DatasetConfig
from sft.dataset.convert import convert
from sft.dataset.images import Bounds, Folder
from sft.dataset.schema import erniekit, schema
from sft.dataset.validate import validate_file

ROWS = int(os.environ.get("SFT_BENCH_ROWS", size(1_000_000, 100_000)))
SMALL = 10_000
PICTURES = int(os.environ.get("SFT_BENCH_IMAGES", size(20_000, 2_000)))
CORES = os.cpu_count() or 1


def write_rows(path: Path, count: int) -> None:
    """Rows of about 250 bytes in ERNIEKit's format."""
    with path.open("w") as file:
        for number in range(count):
            words = (
                f"line {number} of a page with some words on it, and {number % 7} of the words are numbers like 12.50"
            )
            row = {
                "image_info": [{"matched_text_index": 0, "image_url": f"./images/{number:08d}.jpg"}],
                "text_info": [{"text": "OCR:", "tag": "mask"}, {"text": words, "tag": "no_mask"}],
            }
            file.write(json.dumps(row) + "\n")


def peak_memory(path: Path) -> float:
    """MB that a process needs to validate the texts of the whole file, on one core."""
    body = (
        "import sys; from pathlib import Path; from sft.config.model import DatasetConfig\n"
        "from sft.dataset.validate import validate_file\n"
        "validate_file(Path(sys.argv[1]), DatasetConfig(workers=1), images=False)\n"
        # Not ru_maxrss, which a child takes over from the process that forked it.
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    return int(subprocess.check_output([sys.executable, "-c", body, str(path)])) / 1024


def each_line(path: Path, body: Callable[[bytes], Any]) -> Callable[[], None]:
    """Reads the file and hands each line to ``body``, keeping nothing."""

    def read() -> None:
        with path.open("rb") as file:
            for line in file:
                body(line)

    return read


def figures() -> Iterator[Figure]:
    """Text rules on a file of a million rows, then conversion, memory and image headers."""
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "rows.jsonl", Path(folder) / "small.jsonl"
        write_rows(path, ROWS)
        write_rows(small, SMALL)
        yield from _text_rules(path, small)
        yield _conversion(path)
        large_mb, small_mb = peak_memory(path), peak_memory(small)
        question = f"peak memory, {ROWS} rows against {SMALL}"
        yield Figure(question, large_mb, small_mb, "MB", "both ≤ 200 MB", max(large_mb, small_mb) <= 200)
        yield from _headers(Path(folder))


def _text_rules(path: Path, small: Path) -> Iterator[Figure]:
    def check(workers: int, file: Path = path) -> Callable[[], object]:
        return lambda: validate_file(file, DatasetConfig(workers=workers), images=False)

    def figure(name: str, goal: float, reference: Callable[[], object], rows: int = ROWS, cores: int = 1) -> Figure:
        ours, theirs = turns(check(cores), reference)
        ours, theirs = ROWS / ours, rows / theirs
        question = "text rules, one core" if cores == 1 else f"text rules, {cores} cores"
        return Figure(question, ours, theirs, f"rows/s ({name})", f"≥ {goal:g}", ours >= goal * theirs)

    yield figure("bare msgspec", 0.5, each_line(path, msgspec.json.Decoder().decode))
    yield figure("bare orjson", 0.5, each_line(path, orjson.loads))
    if CORES > 1:
        yield figure("one core", 0.9 * CORES, check(1), cores=CORES)
        with ProcessPoolExecutor(CORES) as pool:
            bare = lambda: list(pool.map(_decode_all, [path] * CORES))  # noqa: E731
            yield figure("bare msgspec on each core", 0.5, bare, rows=CORES * ROWS, cores=CORES)
    branch = {"$ref": "#/$defs/erniekit", "$defs": {**schema()["$defs"], "erniekit": erniekit()}}
    fast, slow = jsonschema_rs.validator_for(branch), jsonschema.Draft202012Validator(branch)
    yield figure("jsonschema-rs", 1.3, each_line(path, lambda line: fast.is_valid(orjson.loads(line))))
    yield figure("jsonschema", 50, each_line(small, lambda line: slow.is_valid(orjson.loads(line))), rows=SMALL)
    yield figure("datasets, json", 5, lambda: _datasets(path))


def _decode_all(path: Path) -> None:
    each_line(path, msgspec.json.Decoder().decode)()


def _datasets(path: Path) -> None:
    """Load the file with ``datasets``, into a cache of its own each time."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as cache:
        warnings.simplefilter("ignore")
        import datasets

        datasets.disable_progress_bars()
        datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache)


def _conversion(path: Path) -> Figure:
    target, encoder, decoder = path.with_name("converted.jsonl"), msgspec.json.Encoder(), msgspec.json.Decoder()

    def copy() -> None:
        with path.open("rb") as file, target.open("wb") as out:
            for line in file:
                out.write(encoder.encode(decoder.decode(line)) + b"\n")

    ours, copied = turns(lambda: convert(path, target, "messages", force=True), copy)
    ours, copied = ROWS / ours, ROWS / copied
    return Figure("conversion", ours, copied, "rows/s (decode, encode, write)", "≥ 0.4", ours >= 0.4 * copied)


def _headers(folder: Path) -> Iterator[Figure]:
    names = []
    for number in range(PICTURES):
        name = f"images/{number % 100}/{number}.{('png', 'jpg')[number % 2]}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((160, 48), 60).save(folder / name)
        names.append(name)

    def verify() -> None:
        for name in names:
            with Image.open(folder / name) as image:
                image.verify()

    looker = Folder(folder, Bounds(10**8, 10**8, content=False))
    ours, theirs = turns(lambda: [looker.inspect(name) for name in names], verify)
    again, disk = turns(
        lambda: [looker.inspect(name) for name in names], lambda: [*map(_touch, [f"{folder}/{n}" for n in names])]
    )
    ours, again, theirs, disk = (PICTURES / duration for duration in (ours, again, theirs, disk))
    met = ours >= 5 * theirs or again >= 0.6 * disk
    yield Figure("image headers, one core", ours, theirs, "images/s (Pillow's verify)", "≥ 5, or the disk's limit", met)
    yield Figure("image headers, one core", again, disk, "images/s (open, stat, read, close)", "≥ 0.6: the limit", met)


def _touch(path: str) -> None:
    """What it takes to get at a file's first bytes at all."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fstat(descriptor)
    os.pread(descriptor, 4096, 0)
    os.close(descriptor)
