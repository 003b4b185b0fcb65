"""Images given by address, or by their bytes in the row, become files beside the dataset file; a part of them never
counts as the whole.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import msgspec

from sft.addresses import FETCHED, OTHERS, scheme, shown
from sft.dataset import rows
from sft.dataset.convert import as_row, elsewhere, leaves
from sft.dataset.images import Bounds, Folder, ImageFacts
from sft.dataset.layouts.base import Unusable
from sft.dataset.placing import inline
from sft.dataset.reading import detect_file, read_samples
from sft.dataset.writing import replacing
from sft.download import download
from sft.errors import DatasetError, SftError, listed

MAX_IMAGE = 50 * 10**6  # bytes
MAX_PIXELS = 10**8
WORKERS = 16  # downloads at the same time
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SAID = 100  # images between two reports
SHOWN = 3  # failures that the error names
INLINE = ("data:", "DATA:")  # how an image that stands in the row begins
INLINE_TYPE = re.compile(r"data:image/(\w+)", re.IGNORECASE)


def localise(
    source: Path,
    target: Path,
    *,
    max_rows: int = 0,
    trusted: bool = False,
    workers: int = WORKERS,
    again: bool = False,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write ``target`` with the rows of ``source``, their remote images fetched to ``images/`` beside it.

    An image that stands in a row (a data: URI) becomes a file there, too.

    Args:
        max_rows: rows taken; 0: all.
        trusted: addresses in private networks are followed.
        again: fetch also what is there: it may have been corrected under its address.
        said: called with (images done, images in all).
    Returns: the number of remote images.
    Raises:
        DatasetError: an image could not be fetched or is none; ``target`` is not written, what came is kept.
        DatasetError: an address is none of http or https, or paths would point nowhere; nothing is fetched.
    """
    form, folder = detect_file(source), target.parent
    taken = max_rows or None
    samples = itertools.islice(read_samples(source, form), taken)
    addresses, local, inlined = _named(samples)  # inlined: how many images stand in rows
    _check_schemes(addresses, source)
    if local and leaves(source, target):
        raise elsewhere(source, target)
    failed = list(_write_all(itertools.islice(read_samples(source, form), taken), folder)) if inlined else []
    failed += [problem for problem in _fetch_all(addresses, folder, trusted, workers, again, said) if problem]
    if failed:
        raise DatasetError(
            f"{len(failed)} of {len(addresses) + inlined} images could not be fetched, "
            f"so that the set does not count:{listed(failed, SHOWN)}",
            where=str(target),
            remedy="run again: what has arrived is kept",
        )
    with replacing(target, force=True) as file:
        for sample in itertools.islice(read_samples(source, form), taken):
            images = tuple((_written(name), turn) for name, turn in sample.images)
            file.write(msgspec.json.encode(as_row(rows.Sample(images, sample.turns), form)) + b"\n")
    return len(addresses) + inlined


def _named(samples: Iterable[rows.Sample]) -> tuple[list[str], bool, int]:
    """(addresses, are there paths, number of data: URIs) of the rows' images."""
    addresses, local, inlined = set[str](), False, 0
    for sample in samples:
        for name, _ in sample.images:
            if name.startswith(INLINE):
                inlined += 1
            elif scheme(name):
                addresses.add(name)
            else:
                local = True
    return sorted(addresses), local, inlined


def _written(name: str) -> str:
    return local_name(name) if scheme(name) or name.startswith(INLINE) else name


def _check_schemes(addresses: list[str], source: Path) -> None:
    """Raises DatasetError if one of the addresses is none that is fetched."""
    others = [address for address in addresses if scheme(address) not in FETCHED]
    if others:
        ways = [f"{kind}: {OTHERS[kind]}" for kind in dict.fromkeys(map(scheme, others)) if kind in OTHERS]
        count = f"{len(others)} of {len(addresses)} addresses are" if len(others) > 1 else "an address is"
        raise DatasetError(
            f"{count} neither http nor https, the only ones that are fetched:{listed(list(map(shown, others)), SHOWN)}",
            where=str(source),
            remedy="; ".join(
                ["fetch these with their own tool, and name the files relative to the dataset file", *ways]
            ),
        )


def _write_all(samples: Iterable[rows.Sample], folder: Path) -> Iterator[str]:
    """Write the images that stand in rows as files; what went wrong with each."""
    looker = Folder(folder, Bounds(MAX_IMAGE, MAX_PIXELS, content=False))
    for value in (name for sample in samples for name, _ in sample.images if name.startswith(INLINE)):
        name = local_name(value)
        place = folder / name
        if place.exists():
            continue
        try:
            content = inline(value)
        except Unusable as error:
            yield f"{value[:40]}…: {error}"
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{os.getpid()}")
        temporary.write_bytes(content or b"")
        temporary.replace(place)
        found = looker.inspect(name)
        if not isinstance(found, ImageFacts):
            place.unlink(missing_ok=True)
            yield f"{value[:40]}…: {found[0]}, {found[1]}"


def _fetch_all(
    addresses: list[str], folder: Path, trusted: bool, workers: int, again: bool, said: Callable[[int, int], None]
) -> Iterator[str]:
    looker = Folder(folder, Bounds(MAX_IMAGE, MAX_PIXELS, content=False))
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda url: _fetch(url, folder, looker, trusted, again), addresses)
        for number, problem in enumerate(results, 1):
            yield problem
            if number % SAID == 0 or number == len(addresses):
                said(number, len(addresses))


def local_name(url: str) -> str:
    """The image's file: named by the hash of its address, so that two images never share a name."""
    kind = INLINE_TYPE.match(url[:40])
    suffix = f".{kind.group(1).lower()}" if kind else PurePosixPath(urlsplit(url[:4096]).path).suffix.lower()
    name = hashlib.sha256(url.encode()).hexdigest()[:24] + (suffix if suffix in SUFFIXES else ".img")
    return f"images/{name[:2]}/{name}"


def _fetch(url: str, folder: Path, looker: Folder, trusted: bool, again: bool) -> str:
    """Fetch one image unless it is there; returns what went wrong, or an empty text."""
    target = folder / local_name(url)
    try:
        if again or not target.exists():
            download(url, target, max_bytes=MAX_IMAGE, trusted=trusted)
    except SftError as error:
        return f"{shown(url)}: {error.message.replace(url, shown(url))}"
    found = looker.inspect(local_name(url))
    if isinstance(found, ImageFacts):
        return ""
    target.unlink(missing_ok=True)  # a page that says "not found" is no image: the next call asks again
    return f"{shown(url)}: {found[0]}, {found[1]}"
