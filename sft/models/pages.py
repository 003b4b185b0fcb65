"""From what people have to what a model reads: images, folders, PDF files and multi-page TIFFs become page images."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence, UnidentifiedImageError

from sft.dataset.layouts.named import OTHER_IMAGES
from sft.dataset.pictures import as_seen, opened, saved_as_seen
from sft.dataset.tokens import MAX_RATIO, MIN_SIDE
from sft.errors import InputError, SftError
from sft.store import records

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
DPI = 200  # of a rendered PDF page
MAX_PAGES = 2000  # of one file
MAX_PIXELS = 100_000_000  # of one image
DRAWN = 50_000_000  # px of one drawn page: twenty times what the model looks at
LONGEST = 200  # bytes of a result's name
ANEW = "open it in a viewer and save it anew"
HEAD = 1024  # bytes: %PDF- stands somewhere in them
# Apple's and others' photos, often under the name .jpg: the brands of ISO/IEC 23008-12 at byte 8.
HEIF = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1")


@dataclass(frozen=True)
class Page:
    """One page: ``name`` is that of its results, ``image`` the file that is read, ``number`` counts from 1.

    ``source`` is where it comes from, whole: by it results are told from those of another file of that name.
    ``done``: what was done to it so that the model sees it as a person does (see :mod:`sft.dataset.pictures`).
    """

    name: str
    image: Path
    source: str
    number: int = 1
    done: tuple[str, ...] = ()


class Found(list[Page]):
    """Pages in order; ``broken`` says which files cannot be read, each with the reason and what to do."""

    def __init__(self, pages: Iterable[Page] = ()) -> None:
        super().__init__(pages)
        self.broken: list[SftError] = []


def pages(source: Path, work: Path) -> Found:
    """The pages of a file or of all files in a folder; what has to be rendered or converted comes into ``work``.

    No two pages that were found with the same ``work`` have one name. A file in a folder that cannot be read is among
    the broken ones; the others are read.

    Raises:
        InputError: there is no such file, it is neither image nor PDF, damaged, protected, or far too large; or there
            is none to read in the folder.
    """
    if not source.exists():
        raise InputError("no such file or folder", value=str(source), remedy="correct the path")
    if not source.is_dir():
        return Found(_of_file(source, source.stem, work))
    found = Found()
    for path in sorted(_candidates(source)):
        name = path.relative_to(source).with_suffix("").as_posix().replace("/", "__")
        try:
            found += list(_of_file(path, name, work))
        except InputError as error:
            found.broken.append(error)
    if not found and not found.broken:
        raise _nothing_in(source)
    return found


def look(source: Path) -> None:
    """See by names and first bytes whether there is anything to read: in milliseconds, before a model is looked for.

    Raises:
        InputError: as :func:`pages`, but for what only shows when a picture is decoded or a PDF's pages are drawn.
    """
    if not source.exists():
        raise InputError("no such file or folder", value=str(source), remedy="correct the path")
    if source.is_dir():
        if next(_candidates(source), None) is None:
            raise _nothing_in(source)
        return
    head = _head(source)
    if not _is_pdf(source, head):
        with _as_ours(source, head), opened(source):
            pass


def _candidates(folder: Path) -> Iterator[Path]:
    """Files at any depth whose names say that they are images or PDFs."""
    for path in folder.rglob("*"):  # macOS keeps a file's attributes in ._NAME
        if path.suffix.lower() in (*IMAGES, *OTHER_IMAGES) and not path.name.startswith("._") and path.is_file():
            yield path


def _nothing_in(folder: Path) -> InputError:
    return InputError(
        "no image and no PDF in the folder", value=str(folder), remedy=f"known: {', '.join(IMAGES)}, .pdf"
    )


def _claimed(work: Path, name: str) -> Path:
    """A folder in ``work`` of that name, or of the next free one (a, a-2, …): nothing else is called so."""
    if len(os.fsencode(name)) > LONGEST:
        name = f"{name[: LONGEST // 4]}-{records.fingerprint(name)[:8]}"
    for number in itertools.count(1):
        place = work / (name if number == 1 else f"{name}-{number}")
        mark = work / ".names" / place.name.casefold()  # disks that ignore case keep both, too
        mark.parent.mkdir(parents=True, exist_ok=True)
        try:
            mark.mkdir()
        except FileExistsError:
            continue
        return place
    raise AssertionError("numbers do not end")


def _of_file(path: Path, name: str, work: Path) -> Iterator[Page]:
    place, head = _claimed(work, name), _head(path)
    if _is_pdf(path, head):
        yield from _of_pdf(path, place, work)
        return
    with _as_ours(path, head), opened(path) as image:
        count, size = getattr(image, "n_frames", 1), image.size
        _shaped(path, size)
        if count == 1 or image.format != "TIFF":  # an animation is one picture
            seen, done = saved_as_seen(path, place)
            yield Page(place.name, seen, os.path.abspath(path), done=done)
            return
        _bounded(path, count)
        for number, frame in enumerate(ImageSequence.Iterator(image), 1):
            upright, done = as_seen(frame)
            yield _saved(upright, path, place, number, work, done)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        remedy = "look who may read it (ls -l), and whether its disk is whole"
        raise InputError(f"it cannot be read: {error.strerror}", where=str(path), remedy=remedy) from error


def _is_pdf(path: Path, head: bytes) -> bool:
    return path.suffix.lower() == ".pdf" or b"%PDF-" in head


@contextmanager
def _as_ours(path: Path, head: bytes) -> Iterator[None]:
    """What Pillow raises for a file that it cannot read, as an InputError."""
    try:
        yield
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(_why(head, error), where=str(path), remedy=_way(path, head)) from error


def _why(head: bytes, error: Exception) -> str:
    said = "it is a web page" if _is_html(head) else "it is empty" if not head else str(error)
    return f"it cannot be read as an image: {said}"


def _way(path: Path, head: bytes) -> str:
    """What makes a file readable that is none of the known kinds, or what else to do with it."""
    if _is_html(head):
        return "give the address of the image itself; where a login is needed, save it with a browser"
    kind = ".heic" if head[4:12] in HEIF else path.suffix.lower()
    if kind in OTHER_IMAGES:
        return OTHER_IMAGES[kind]
    return f"replace the damaged file, or convert it: known are {', '.join(IMAGES)}, .pdf"


def _is_html(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith((b"<!doctype html", b"<html"))


def _shaped(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        remedy = f"scale it down: at most {MAX_PIXELS // 10**6} million pixels"
        raise InputError("the image is too large", where=str(path), value=f"{width} × {height} px", remedy=remedy)
    if min(size) < MIN_SIDE:
        remedy = f"leave it out: the model reads images of at least {MIN_SIDE} px in each direction"
        raise InputError("the image is too small", where=str(path), value=f"{width} × {height} px", remedy=remedy)
    if max(size) > MAX_RATIO * min(size):
        remedy = f"cut it: the model reads images at most {MAX_RATIO} times as long as wide"
        raise InputError("the image is a ribbon", where=str(path), value=f"{width} × {height} px", remedy=remedy)


def _of_pdf(path: Path, place: Path, work: Path) -> Iterator[Page]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except (pypdfium2.PdfiumError, OSError) as error:
        locked = "assword" in str(error)
        remedy = "save a copy without its password (qpdf --decrypt --password=… IN OUT)" if locked else ANEW
        raise InputError(
            f"the PDF cannot be opened: {str(error).rstrip('.')}", where=str(path), remedy=remedy
        ) from error
    try:
        _bounded(path, len(document))
        document.init_forms()  # what is filled into a form's fields is drawn, too
        for number in range(len(document)):
            page = document[number]
            width, height = page.get_size()  # points, 72 to the inch
            scale = min(DPI / 72, (DRAWN / max(width * height, 1)) ** 0.5)
            image = page.render(scale=scale).to_pil().convert("RGB")
            page.close()
            yield _saved(image, path, place, number + 1, work)
    except pypdfium2.PdfiumError as error:
        raise InputError(f"a page of the PDF cannot be drawn: {error}", where=str(path), remedy=ANEW) from error
    finally:
        document.close()


def _bounded(path: Path, count: int) -> None:
    if not count:
        raise InputError("the file has no pages", where=str(path), remedy=ANEW)
    if count > MAX_PAGES:
        remedy = f"split it: at most {MAX_PAGES} pages a file"
        raise InputError("the file has too many pages", where=str(path), value=str(count), remedy=remedy)


def _saved(image: Image.Image, path: Path, place: Path, number: int, work: Path, done: tuple[str, ...] = ()) -> Page:
    target = _claimed(work, f"{place.name}-p{number:04d}")
    _shaped(path, image.size)
    image.save(target.with_name(f"{target.name}.png"))
    return Page(target.name, target.with_name(f"{target.name}.png"), os.path.abspath(path), number, done)


def write(folder: Path, page: Page, content: str, facts: dict[str, Any]) -> tuple[Path, Path]:
    """NAME.md with the content and NAME.json with everything about it; returns both paths.

    Earlier results of the same page are replaced; where something else is called so, they become NAME-2, NAME-3, …
    """
    md, js = _free(folder, page)
    records.write_text(md, content.rstrip() + "\n")
    facts = {"source": page.source, "page": page.number, "markdown": content, **facts}
    if page.done:
        facts["picture"] = list(page.done)
    records.write_text(js, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return md, js


def _free(folder: Path, page: Page) -> tuple[Path, Path]:
    for number in itertools.count(1):
        name = page.name if number == 1 else f"{page.name}-{number}"
        md, js = folder / f"{name}.md", folder / f"{name}.json"
        if not md.exists() and not js.exists():
            return md, js
        said = records.read_json(js)
        if isinstance(said, dict) and (said.get("source"), said.get("page")) == (page.source, page.number):
            return md, js
    raise AssertionError("numbers do not end")
