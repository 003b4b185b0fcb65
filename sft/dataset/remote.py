"""Images given by address become files beside the dataset file; a part of them never counts as the whole."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import msgspec

from sft.dataset import rows
from sft.dataset.convert import as_row
from sft.dataset.images import Bounds, Folder, ImageFacts
from sft.dataset.reading import detect_file, read_samples
from sft.dataset.writing import replacing
from sft.download import download
from sft.errors import DatasetError, SftError

MAX_IMAGE = 50 * 10**6  # bytes
MAX_PIXELS = 10**8
WORKERS = 16  # downloads at the same time
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SAID = 100  # images between two reports
SHOWN = 3  # failures that the error names


def localise(
    source: Path,
    target: Path,
    *,
    max_rows: int = 0,
    trusted: bool = False,
    workers: int = WORKERS,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write ``target`` with the rows of ``source``, their remote images fetched to ``images/`` beside it.

    Args:
        max_rows: rows taken; 0: all.
        trusted: addresses in private networks are followed.
        said: called with (images done, images in all).
    Returns: the number of remote images.
    Raises:
        DatasetError: an image could not be fetched or is none; ``target`` is not written, what came is kept.
    """
    form, folder = detect_file(source), target.parent
    taken = max_rows or None
    samples = itertools.islice(read_samples(source, form), taken)
    addresses = sorted({image for sample in samples for image, _ in sample.images if "://" in image})
    failed = [problem for problem in _fetch_all(addresses, folder, trusted, workers, said) if problem]
    if failed:
        raise DatasetError(
            f"{len(failed)} of {len(addresses)} images could not be fetched, so that the set does not count",
            where=target.stem,
            value="; ".join(failed[:SHOWN]),
            remedy="run again: what has arrived is kept",
        )
    with replacing(target, force=True) as file:
        for sample in itertools.islice(read_samples(source, form), taken):
            images = tuple((local_name(name) if "://" in name else name, turn) for name, turn in sample.images)
            file.write(msgspec.json.encode(as_row(rows.Sample(images, sample.turns), form)) + b"\n")
    return len(addresses)


def _fetch_all(
    addresses: list[str], folder: Path, trusted: bool, workers: int, said: Callable[[int, int], None]
) -> Iterator[str]:
    looker = Folder(folder, Bounds(MAX_IMAGE, MAX_PIXELS, content=False))
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda url: _fetch(url, folder, looker, trusted), addresses)
        for number, problem in enumerate(results, 1):
            yield problem
            if number % SAID == 0 or number == len(addresses):
                said(number, len(addresses))


def local_name(url: str) -> str:
    """The image's file: named by the hash of its address, so that two images never share a name."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    name = hashlib.sha256(url.encode()).hexdigest()[:24] + (suffix if suffix in SUFFIXES else ".img")
    return f"images/{name[:2]}/{name}"


def _fetch(url: str, folder: Path, looker: Folder, trusted: bool) -> str:
    """Fetch one image unless it is there; returns what went wrong, or an empty text."""
    target = folder / local_name(url)
    try:
        if not target.exists():
            download(url, target, max_bytes=MAX_IMAGE, trusted=trusted)
    except SftError as error:
        return f"{url}: {error.message}"
    found = looker.inspect(local_name(url))
    if isinstance(found, ImageFacts):
        return ""
    target.unlink(missing_ok=True)  # a page that says "not found" is no image: the next call asks again
    return f"{url}: {found[0]}, {found[1]}"
