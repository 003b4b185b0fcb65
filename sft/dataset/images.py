"""Images: is the file inside the folder, of an allowed type, size and shape, with a header that can be read."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from sft.addresses import shown
from sft.dataset import headers
from sft.dataset.finding_files import MISSING, Finder
from sft.dataset.lines import LFS
from sft.dataset.reading import link_text
from sft.dataset.rows import Breach
from sft.dataset.rules import IMAGE_TYPES
from sft.dataset.tokens import MAX_RATIO, MIN_SIDE
from sft.store.shards.index import Place
from sft.store.shards.reading import Packed

CHUNK = 1 << 20  # bytes
# Not followed: a link is resolved by itself. Not blocking: a pipe would wait for its writer for ever.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE = (errno.EISDIR, errno.ESPIPE)  # what reading at a position says of a folder, of a pipe
_NONE: tuple[Breach, ...] = ()
SHOWN = 200  # characters of a name in a finding
INLINE = 40  # the same of an image that stands in the row


class ImageFacts(NamedTuple):
    """``width`` and ``height`` in px, upright; ``sha256`` of the file's bytes, empty where nobody asked for it.

    ``odd``: trainers may see it otherwise than a person, so that :mod:`sft.dataset.pictures` has to look at it.
    """

    width: int
    height: int
    sha256: str
    warnings: tuple[Breach, ...] = ()
    odd: bool = False


@dataclass(frozen=True)
class Bounds:
    """What an image may be, and how closely it is looked at.

    Attributes:
        content: hash the file's bytes.
        decode: decode the pixels.
    """

    max_bytes: int
    max_pixels: int
    content: bool = True
    decode: bool = False


class Folder:
    """Looks at the images below one folder; folders inside it are resolved once."""

    def __init__(self, root: Path, bounds: Bounds) -> None:
        self.root = os.path.realpath(root)
        self.bounds = bounds
        self._inside: dict[str, str | None] = {}
        self._packed = Packed.above(root)
        self._copy: _Copy | None = None
        self._finder: Finder | None = None

    def inspect(self, name: str) -> ImageFacts | Breach:
        """Look at one image.

        Args:
            name: as it stands in the row: a path relative to the folder.
        Returns: the facts, or the rule that is broken and the value found.
        """
        if ":" in name and (odd := _address(name)):
            return odd
        path = self._path(name)
        if path is None:
            return "image-outside", self._leaves(name)
        if self._packed is not None and (place := self._packed.find(path)) is not None:
            return self._look_inside(self._packed, place, name)
        try:
            descriptor = os.open(path, _OPEN)
        except OSError:
            if not os.path.islink(path):
                return "image-missing", self._instead(name)
            path = os.path.realpath(path)
            if not self._below(path):
                return "image-outside", self._leaves(name)
            try:
                descriptor = os.open(path, _OPEN)
            except OSError:
                return "image-missing", name
        try:
            return self._look(descriptor, name, path)
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> str | None:
        """The file's path, its folder resolved; None where that lies outside."""
        folder, _, last = name.rpartition("/")
        if last in ("", ".", "..") or "\0" in name or name.startswith("/"):
            resolved = os.path.realpath(os.path.join(self.root, name)) if "\0" not in name else ""
            return resolved if self._below(resolved) else None
        if folder not in self._inside:
            if len(self._inside) > 100_000:
                self._inside.clear()
            place = os.path.realpath(os.path.join(self.root, folder))
            self._inside[folder] = place if self._below(place) else None
        inside = self._inside[folder]
        return None if inside is None else f"{inside}/{last}"

    def _instead(self, name: str) -> str:
        """The name of a missing image, and the file that is probably meant by it."""
        if self._finder is None:
            self._finder = Finder([Path(self.root)])
        try:
            path, said = self._finder.find(name)
        except ValueError as error:
            return str(error).removeprefix(f"{MISSING}: ")[:SHOWN]
        return f"{name[:SHOWN]}, while {os.path.relpath(path, self.root)} exists ({said})"

    def _leaves(self, name: str) -> str:
        """The name, and where a link leads that the name itself does not show."""
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            return name
        return f"{name}: through a link to {os.path.realpath(os.path.join(self.root, name))}"

    def _below(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root.rstrip("/") + "/")

    def _look_inside(self, packed: Packed, place: Place, name: str) -> ImageFacts | Breach:
        """The same of an image in a shard: its bytes are looked at as a file in memory."""
        if place.size > self.bounds.max_bytes:
            return "image-bytes", f"{name}: {place.size} bytes"
        if self._copy is None:
            self._copy = _Copy()
        descriptor = self._copy.of(packed.read(place))
        return self._look(descriptor, name, f"/proc/self/fd/{descriptor}")

    def _look(self, descriptor: int, name: str, path: str) -> ImageFacts | Breach:
        bounds = self.bounds
        try:
            head = os.pread(descriptor, headers.FIRST, 0)
            size = len(head)
            if size == headers.FIRST:  # a smaller file says its size by that: no need to ask, a sixth of the time
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    return "image-missing", name
                size = status.st_size
            if size > bounds.max_bytes:
                return "image-bytes", f"{name}: {size} bytes"
            header = headers.read(head, descriptor, size, path)
        except Image.DecompressionBombError as error:
            return "image-pixels", f"{name}: {error}"
        except (headers.Unreadable, OSError) as error:
            if isinstance(error, OSError) and error.errno in _NO_FILE:
                return "image-missing", name
            if head.startswith(LFS):
                return "image-lfs", name
            if isinstance(error, headers.Unreadable) and (target := link_text(head, os.path.dirname(path))):
                return "image-type", f"{name}: the text of a link to {target}, which was copied as a file"
            seen = headers.other(head) or f"not one of {', '.join(IMAGE_TYPES)}, or damaged"
            return "image-type", f"{name}: {seen}"
        width, height = header.width, header.height
        if width * height > bounds.max_pixels:
            return "image-pixels", f"{name}: {width} × {height}"
        if min(width, height) < MIN_SIDE:
            return "image-small", f"{name}: {width} × {height}"
        if max(width, height) > MAX_RATIO * min(width, height):
            return "image-ratio", f"{name}: {width} × {height}"
        if header.truncated:
            return "image-truncated", f"{name}: it ends in the middle"
        if bounds.decode and (problem := headers.decode(path)):
            return "image-truncated", f"{name}: {problem}"
        digest = _hash(descriptor, head) if bounds.content else ""
        if header.orientation >= 5:  # turned by a quarter
            width, height = height, width
        odd = header.odd
        said = tuple(_warnings(header, name)) if odd or header.animated else _NONE
        return ImageFacts(width, height, digest, said, odd)


class _Copy:
    """A file in memory, used for one image after the other."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("packed-image", os.MFD_CLOEXEC)
        self._closed = weakref.finalize(self, os.close, self._descriptor)

    def of(self, content: bytes) -> int:
        """The descriptor of the file, which now has this content."""
        os.ftruncate(self._descriptor, 0)
        left, at = memoryview(content), 0
        while at < len(left):
            at += os.pwrite(self._descriptor, left[at:], at)
        return self._descriptor


def _address(name: str) -> Breach | None:
    """The breach of an image that is no file: it has an address, or stands in the row."""
    if name[:5].lower() == "data:":
        return "image-inline", f"{name[:INLINE]}… ({len(name)} characters)"
    return ("image-remote", shown(name)[:SHOWN]) if "://" in name.split("?")[0] else None


def _warnings(header: headers.Header, name: str) -> Iterator[Breach]:
    if header.mode:
        yield "image-mode", f"{name}: {header.mode}"
    if header.animated:
        yield "image-animated", name
    if header.orientation != 1:
        yield "image-rotated", f"{name}: Exif orientation {header.orientation}"


def _hash(descriptor: int, head: bytes) -> str:
    """SHA-256 of a file whose first bytes are read."""
    digest, at = hashlib.sha256(head), len(head)
    while chunk := os.pread(descriptor, CHUNK, at):
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()
