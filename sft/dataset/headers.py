"""What an image's header says, read from the first bytes of the file: hardly any pixel is decoded.

Sources: PNG (W3C, 3rd edition), JPEG (ITU-T T.81, annex B) with Exif (CIPA DC-008), WebP container (RFC 9649), BMP
(Windows' BITMAPINFOHEADER). Anything unusual, and TIFF, is left to Pillow, which is slower by an order of magnitude.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image, UnidentifiedImageError

from sft.dataset.rules import IMAGE_TYPES

FIRST = 1 << 14  # bytes read at first: all of a small image, which saves a look at its end
MORE = 1 << 18  # bytes read where that was not enough: room for an Exif thumbnail and a colour profile
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"
ORIENTATION = 0x0112  # Exif's tag
_MODES = {"1": "1 bit", "L": "", "RGB": "", "RGBA": "", "LA": "", "P": "palette", "PA": "palette", "YCbCr": ""}


# First bytes of what is often found under an image's name, from the given place on.
_OTHERS = (
    (0, b"GIF8", "a GIF"),
    (0, b"%PDF", "a PDF"),
    (4, b"ftypavif", "an AVIF"),
    (4, b"ftypheic", "a HEIC"),
    (4, b"ftypheix", "a HEIC"),
    (4, b"ftypmif1", "a HEIC"),
    (4, b"jP  ", "a JPEG 2000"),
    (0, b"PK\x03\x04", "an archive"),
    (0, b"<", "a page of text (HTML, XML or SVG)"),
    (0, b"{", "JSON"),
)


def other(head: bytes) -> str:
    """What a file is that is no image of an allowed type, by its first bytes; empty where they say nothing."""
    if not head:
        return "an empty file"
    start = head[:64].lstrip(b"\xef\xbb\xbf \r\n\t")
    return next((name for at, magic, name in _OTHERS if (head[at:] if at else start).startswith(magic)), "")


class Header(NamedTuple):
    """``width`` and ``height`` in px, as stored."""

    width: int
    height: int
    mode: str = ""  # what is unusual about the pixels: "CMYK", "16 bits", "palette", …
    animated: bool = False
    orientation: int = 1  # Exif: 1 is upright
    truncated: bool = False
    alpha: bool = False  # there is transparency, or room for it: only the pixels tell whether any is used

    @property
    def odd(self) -> bool:
        """May a trainer see it otherwise than a person? Then :mod:`sft.dataset.pictures` looks at its pixels."""
        return bool(self.mode) or self.orientation != 1 or self.alpha


class Unreadable(Exception):
    """No image of an allowed type."""


def read(head: bytes, descriptor: int, size: int, path: str) -> Header:
    """The header of an open file.

    Args:
        head: the file's first FIRST bytes, all of them where it has fewer.
        size: of the file (bytes).
        path: for what only Pillow can read.
    Raises:
        Unreadable: not an image of an allowed type, or damaged.
        PIL.Image.DecompressionBombError: more pixels than Pillow is willing to handle.
    """
    header = _parse(head, descriptor, size)
    if header is None and size > FIRST:
        header = _parse(os.pread(descriptor, MORE, 0), descriptor, size)
    if header is not None and head.startswith(b"\xff\xd8") and _is_cut(head, descriptor, size, path):
        return header._replace(truncated=True)
    return header or _with_pillow(path)


def _is_cut(head: bytes, descriptor: int, size: int, path: str) -> bool:
    """Does a JPEG end in the middle? Cameras write on behind its end: where that is not last, only decoding tells."""
    last = head[-2:] if len(head) >= size else os.pread(descriptor, 2, size - 2)
    return last != _JPEG_END and bool(decode(path))


def of_file(path: Path) -> Header:
    """The same of a file that is not open.

    Raises:
        OSError: it cannot be read.
        Unreadable, PIL.Image.DecompressionBombError: as :func:`read`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read(os.pread(descriptor, FIRST, 0), descriptor, os.fstat(descriptor).st_size, str(path))
    finally:
        os.close(descriptor)


def _parse(head: bytes, descriptor: int, size: int) -> Header | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(head, descriptor, size)
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg(head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head, size)
    if head.startswith(b"BM") and len(head) >= 30:
        return _bmp(head)
    return None


def _png(head: bytes, descriptor: int, size: int) -> Header | None:
    if head[12:16] != b"IHDR" or len(head) < 29:
        return None
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if not width or not height:
        return None
    depth, colour = head[24], head[25]
    mode = "16 bits" if depth == 16 else "palette" if colour == 3 else "1 bit" if depth == 1 else ""
    end = head.find(b"IDAT")
    before = head[: end if end >= 0 else len(head)]  # acTL and eXIf come before the pixels
    whole = _PNG_END in (head[-64:] if len(head) >= size else os.pread(descriptor, 64, max(0, size - 64)))
    exif = before.find(b"eXIf")
    orientation = _orientation(before[exif + 4 :]) if exif > 0 else 1
    return Header(width, height, mode, b"acTL" in before, orientation, not whole, colour >= 4 or b"tRNS" in before)


def _jpeg(head: bytes) -> Header | None:
    """Walk the segments to the frame header (SOFn); None where it lies further back."""
    at, orientation, last = 2, 1, len(head) - 9
    while at < last:
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = head[at + 2] << 8 | head[at + 3]
        if marker == 0xE1 and head[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(head[at + 10 : at + 2 + length])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = head[at + 5] << 8 | head[at + 6], head[at + 7] << 8 | head[at + 8]
            depth, components = head[at + 4], head[at + 9]
            mode = "CMYK" if components == 4 else f"{depth} bits" if depth != 8 else ""
            return Header(width, height, mode, False, orientation) if width and height else None
        if marker == 0xDA or length < 2:
            return None
        at += 2 + length
    return None


def _orientation(exif: bytes) -> int:
    """The orientation of an Exif block (a TIFF header and its first directory); 1 where it says none."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"

    def number(at: int, count: int) -> int:
        return int.from_bytes(exif[at : at + count], order)

    start = number(4, 4)
    for entry in range(start + 2, start + 2 + 12 * min(number(start, 2), 200), 12):
        if number(entry, 2) == ORIENTATION and entry + 10 <= len(exif):
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def _webp(head: bytes, size: int) -> Header | None:
    kind, truncated = head[12:16], int.from_bytes(head[4:8], "little") + 8 > size
    if kind == b"VP8X" and len(head) >= 30:
        if head[20] & 0x08:  # Exif comes at the end of the file: Pillow looks for it
            return None
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        return Header(width, height, "", bool(head[20] & 0x02), 1, truncated, bool(head[20] & 0x10))
    if kind == b"VP8L" and len(head) >= 25 and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        return Header(width, height, truncated=truncated, alpha=bool(bits >> 28 & 1))
    if kind == b"VP8 " and len(head) >= 30 and head[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return Header(width, height, truncated=truncated) if width and height else None
    return None


def _bmp(head: bytes) -> Header | None:
    if int.from_bytes(head[14:18], "little") < 40:
        return None  # the header of OS/2
    bits = int.from_bytes(head[28:30], "little")
    if bits <= 8:
        return None  # a palette: of greys, or of colours
    width, height = (int.from_bytes(head[at : at + 4], "little", signed=True) for at in (18, 22))
    return Header(width, abs(height), alpha=bits == 32) if width > 0 and height else None


def _with_pillow(path: str) -> Header:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound follows
        try:
            with Image.open(path, formats=IMAGE_TYPES) as image:
                width, height = image.size
                mode = "16 bits" if image.mode.startswith(("I", "F")) else _MODES.get(image.mode, image.mode)
                alpha = image.has_transparency_data
                orientation = image.getexif().get(ORIENTATION, 1)
                animated = getattr(image, "n_frames", 1) > 1
        except Image.DecompressionBombError:
            raise
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError) as error:
            raise Unreadable(str(error)) from error
        except Exception as error:  # Pillow's plugins raise what they like at hostile bytes (struct.error, EOFError)
            raise Unreadable(f"{type(error).__name__}: {error}") from error
    turned = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return Header(width, height, mode, animated, turned, alpha=alpha)


def decode(path: str) -> str:
    """Decode all pixels; what is wrong with them, or an empty text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=IMAGE_TYPES) as image:
                image.load()
        except Exception as error:  # as above
            return f"{type(error).__name__}: {error}"
    return ""
