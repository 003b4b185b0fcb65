"""Images of an import: each has a place below the folder of the dataset file, and comes there when all is well."""

from __future__ import annotations

import base64
import binascii
import filecmp
import hashlib
import io
import os
import re
import shutil
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from PIL import Image

from sft.dataset.finding_files import Finder
from sft.dataset.headers import other
from sft.dataset.images import Bounds, Folder, ImageFacts
from sft.dataset.layouts.base import Picture, Unusable
from sft.dataset.rules import IMAGE_TYPES, RULES

MAX_INLINE = 50_000_000  # bytes of an image that stands in a row
INLINE = re.compile(r"^data:([\w/+.-]*)(?:;[\w=-]+)*;base64,", re.IGNORECASE)
# The first bytes of a PNG, JPEG, WebP, TIFF and BMP in base64, where no data: says so.
_BARE = re.compile(r"^(?:iVBORw0KGgo|/9j/|UklGR|SUkqA|TU0AK|Qk)[A-Za-z0-9+/\s]{80,}={0,2}\s*$")
_LOOSE = Bounds(2 * 10**9, 10**9, content=False)  # what a profile may allow at most: validate has the profile's bounds
_SAFE = re.compile(r"[^\w.()\[\]+=@~ -]+")


class Placer(AbstractContextManager["Placer"]):
    """Gives images their places; nothing lies there before :meth:`commit`.

    Args:
        folder: of the dataset file.
        source: what is imported; its name becomes a folder below images/, so that two sources never share a file.
        finder: finds what a row names.
    """

    def __init__(self, folder: Path, source: Path, finder: Finder) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._real = os.path.realpath(folder)
        digest = hashlib.sha256(os.path.realpath(source).encode("utf-8", "surrogateescape")).hexdigest()[:6]
        self._tag = f"images/{_clean(source.name.partition('.')[0]) or 'import'}-{digest}"
        self._finder = finder
        self._looker = Folder(Path("/"), _LOOSE)
        self._plan: dict[str, Path] = {}
        self._staged: Path | None = None

    def __exit__(self, *_: object) -> None:
        if self._staged is not None:
            shutil.rmtree(self._staged, ignore_errors=True)

    def place(self, picture: Picture, base: Path | None = None) -> tuple[str, str]:
        """(the path for the row, what had to be done to find it; empty where nothing).

        Raises:
            Unusable: there is no such image, or it is none.
        """
        content, name = picture.content, picture.name
        if content is None and (content := inline(name)) is not None:
            return self._of_bytes(content, ""), ""
        if content is not None:
            return self._of_bytes(content, name), ""
        if "://" in name.partition("?")[0]:
            if name.startswith("file://"):
                raise Unusable("file:// names a file of one machine: write its path")
            return name, "images by address: sft fetch-images fetches them"
        try:
            path, said = self._finder.find(name, base)
        except ValueError as error:
            raise Unusable(str(error)) from error
        return self._of_file(path), said

    def size(self, place: str) -> tuple[int, int]:
        """(width, height) in px of an image that was placed.

        Raises:
            Unusable: it lies at an address.
        """
        name = place.removeprefix("./")
        found = self._looker.inspect(str(self._plan.get(name, self.folder / name))[1:])
        if "://" in place or not isinstance(found, ImageFacts):
            raise Unusable("places in px need the image's size: fetch the image, and name the file")
        return found.width, found.height

    def _of_file(self, path: Path) -> str:
        self._check(path, path.name)
        if path.is_relative_to(self.folder) and os.path.realpath(path).startswith(self._real.rstrip("/") + "/"):
            return "./" + path.relative_to(self.folder).as_posix()
        inside = next(f for f in self._finder.folders if path.is_relative_to(f))
        return self._planned(path.relative_to(inside).as_posix(), path)

    def _of_bytes(self, content: bytes, name: str) -> str:
        digest = hashlib.sha256(content).hexdigest()
        try:
            with Image.open(io.BytesIO(content), formats=IMAGE_TYPES) as image:
                suffix = "." + str(image.format).lower().replace("jpeg", "jpg").replace("mpo", "jpg")
        except Exception as error:  # Pillow's plugins raise what they like at hostile bytes
            said = other(content) or type(error).__name__
            raise Unusable(f"no image of type {', '.join(IMAGE_TYPES)}: {said}") from error
        if self._staged is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._staged = Path(tempfile.mkdtemp(prefix=".import.", dir=self.folder))
        staged = self._staged / f"{digest}{suffix}"
        if not staged.exists():
            staged.write_bytes(content)
            self._check(staged, name or "the image")
        kept = _relative(name)
        if not kept or Path(kept).suffix.lower() not in (suffix, ".jpeg", ".jfif", ".tif"):
            kept = f"{kept}{suffix}" if kept else f"{digest[:2]}/{digest[:24]}{suffix}"
        return self._planned(kept, staged)

    def _check(self, path: Path, name: str) -> None:
        found = self._looker.inspect(str(path)[1:])
        if not isinstance(found, ImageFacts):
            rule, value = found
            seen = value.rpartition(": ")[2]
            raise Unusable(f"{name} breaks the rule that {RULES[rule].says} (found {seen}): {RULES[rule].remedy}")

    def _planned(self, name: str, path: Path) -> str:
        """The place of a file; another file of the same name (in two shards, or two folders) gets one of its own."""
        place = f"{self._tag}/{name}"
        if self._plan.setdefault(place, path) != path:
            digest = hashlib.sha256(str(path.name if path.parent == self._staged else path).encode()).hexdigest()[:8]
            place = f"{self._tag}/{digest}/{name}"
            self._plan.setdefault(place, path)
        return f"./{place}"

    def commit(self) -> None:
        """Put every image in its place; one that is there with the same bytes stays, one with other bytes goes."""
        for place, path in self._plan.items():
            target = self.folder / place
            if target.is_file() and filecmp.cmp(path, target, shallow=False):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".import.{os.getpid()}")  # a name may be as long as the system allows
            try:
                shutil.copyfile(path, temporary)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)


def inline(value: str) -> bytes | None:
    """The bytes of an image that stands in the text as base64; None for any other text.

    Raises:
        Unusable: it is larger than allowed, or no base64.
    """
    head = INLINE.match(value[:200])
    if head is None and not (len(value) > 80 and _BARE.match(value)):
        if value[:5].lower() == "data:":
            raise Unusable("a data: URI is base64 of an image: data:image/png;base64,…")
        return None
    text = value[head.end() if head else 0 :]
    if len(text) * 3 // 4 > MAX_INLINE:
        raise Unusable(f"an image in a row has at most {MAX_INLINE} bytes: write it as a file")
    try:
        return base64.b64decode(re.sub(r"\s+", "", text), validate=True)
    except binascii.Error as error:
        raise Unusable(f"its base64 is damaged: {error}") from error


def _clean(name: str) -> str:
    return _SAFE.sub("_", name).strip(". ")[:60]


def _relative(name: str) -> str:
    """The name that bytes came with, as a path that leaves no folder; empty where there is none."""
    parts = [_clean(part) for part in PurePosixPath(name.replace("\\", "/").partition("://")[2] or name).parts]
    return "/".join(part for part in parts[-3:] if part and part != "..")
