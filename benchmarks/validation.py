"""How fast are datasets checked and converted, against bare decoding and other validators, and in how much memory?"""

from __future__ import annotations

import multiprocessing
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
from sft.dataset.columns import erniekit_row
from sft.dataset.convert import convert
from sft.dataset.images import Bounds, Folder
from sft.dataset.schema import erniekit, schema
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file

ROWS = int(os.environ.get("SFT_BENCH_ROWS", size(1_000_000, 100_000)))
SMALL = 10_000
PICTURES = int(os.environ.get("SFT_BENCH_IMAGES", size(20_000, 2_000)))
CORES = os.cpu_count() or 1
Body = Callable[[], object]


ROW = (
    '{"image_info": [{"matched_text_index": 0, "image_url": "./images/%08d.jpg"}], "text_info": '
    '[{"text": "OCR:", "tag": "mask"}, {"text": "line %d of a page with some words on it, and %d of the words are '
    'numbers like 12.50", "tag": "no_mask"}]}\n'
)


def write_rows(path: Path, count: int) -> None:
    """Rows of about 250 bytes in ERNIEKit's format."""
    with path.open("w") as file:
        file.writelines(ROW % (number, number, number % 7) for number in range(count))


def peak_memory(path: Path) -> float:
    """MB that a process needs to validate the texts of the whole file, on one core."""
    body = (
        "import sys; from pathlib import Path; from sft.dataset.settings import DatasetConfig\n"
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
        taken = turns(check(cores), reference, repeats=5)
        ours, theirs = taken.rate(ROWS, rows)
        question = "text rules, one core" if cores == 1 else f"text rules, {cores} cores"
        spread, met = taken.spread(ROWS, rows), ours >= goal * theirs
        return Figure(question, ours, theirs, f"rows/s ({name})", f"≥ {goal:g}" if goal else "none", met, spread)

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
    for cores, goal in ((1, 5), (CORES, 0)):
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn, initializer=_confine, initargs=(cores,)) as one:
            load = lambda one=one: one.submit(_datasets, path).result()  # noqa: E731
            yield figure("datasets, json, on as many", goal, load, cores=cores)


def _decode_all(path: Path) -> None:
    each_line(path, msgspec.json.Decoder().decode)()


def _datasets(path: Path) -> None:
    """Load the file with ``datasets``, into a cache of its own each time."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as cache:
        warnings.simplefilter("ignore")
        import datasets

        datasets.disable_progress_bars()
        datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache)


def _confine(cores: int) -> None:
    """This process keeps to so many cores: Arrow takes all that it is let have."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _conversion(path: Path) -> Figure:
    target, encoder, decoder = path.with_name("converted.jsonl"), msgspec.json.Encoder(), msgspec.json.Decoder()

    def copy() -> None:
        with path.open("rb") as file, target.open("wb") as out:
            for line in file:
                out.write(encoder.encode(decoder.decode(line)) + b"\n")

    taken = turns(lambda: convert(path, target, "messages", force=True), copy)
    ours, copied = taken.rate(ROWS)
    unit, met = "rows/s (decode, encode, write)", ours >= 0.4 * copied
    return Figure("conversion", ours, copied, unit, "≥ 0.4", met, taken.spread())


def _headers(folder: Path) -> Iterator[Figure]:
    rows, names = folder / "pictures.jsonl", []
    for number in range(PICTURES):
        name = f"images/{number % 100}/{number}.{('png', 'jpg')[number % 2]}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((160, 48), 60).save(folder / name)
        names.append(name)
    encode = msgspec.json.Encoder().encode
    rows.write_bytes(b"".join(encode(erniekit_row("OCR:", f"line {name}", name)) + b"\n" for name in names))
    paths = [f"{folder}/{name}" for name in names]

    def verify() -> None:
        for path in paths:
            with Image.open(path) as image:
                image.verify()

    looker = Folder(folder, Bounds(10**8, 10**8, content=False))

    def figure(question: str, ours: Body, reference: Body, unit: str, goal: str) -> Figure:
        taken = turns(ours, reference, repeats=5)
        rate, other = taken.rate(PICTURES)
        least = float(goal.split()[1]) if goal != "none" else 0
        return Figure(question, rate, other, unit, goal, rate >= least * other, taken.spread())

    def whole(workers: int) -> Body:
        config = DatasetConfig(images="headers", workers=workers)
        return lambda: validate_file(rows, config)

    def one_core() -> None:
        for name in names:
            looker.inspect(name)

    unit = "images/s (Pillow's verify, one by one)"
    assert validate_file(rows, DatasetConfig(images="headers")).train.images == PICTURES
    yield figure("image headers with their rows", whole(0), verify, unit, "≥ 5")
    if CORES > 1:  # workers follow the size of the work: they never cost more than they bring
        yield figure("image headers with their rows", whole(0), whole(1), "images/s (one worker)", "≥ 0.9")
    yield figure("image headers, one core", one_core, verify, unit, "none")
    unit = "images/s (open, stat, read, close)"
    yield figure("image headers, one core", one_core, lambda: [*map(_touch, paths)], unit, "none")


def _touch(path: str) -> None:
    """What it takes to get at a file's first bytes at all."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fstat(descriptor)
    os.pread(descriptor, 4096, 0)
    os.close(descriptor)
