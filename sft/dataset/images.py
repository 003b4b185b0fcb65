"""Images: is the file inside the folder, of an allowed type and size, with a header that can be read."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sft.dataset.rows import Breach
from sft.dataset.rules import IMAGE_TYPES


@dataclass(frozen=True)
class ImageFacts:
    """``width`` and ``height`` in px, ``sha256`` of the file's bytes."""

    width: int
    height: int
    sha256: str


def inspect(root: Path, name: str, *, max_bytes: int, max_pixels: int) -> ImageFacts | Breach:
    """Look at one image by its header; the pixels are not decoded.

    Args:
        root: the resolved folder of the JSONL file; the image must lie below it, links followed.
        name: as it stands in the row.
    Returns: the facts, or the rule that is broken and the value found.
    """
    if "://" in name.split("?")[0]:
        return "image-remote", name
    path = _inside(root, name)
    if path is None:
        return "image-outside", name
    try:
        size = path.stat().st_size
        if size > max_bytes:
            return "image-bytes", f"{name}: {size} bytes"
        content = path.read_bytes()
    except (OSError, ValueError):
        return "image-missing", name
    return _header(name, content, max_pixels)


def _inside(root: Path, name: str) -> Path | None:
    try:
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError):  # NUL bytes, loops of links
        return None
    return path if path.is_relative_to(root) else None


def _header(name: str, content: bytes, max_pixels: int) -> ImageFacts | Breach:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound follows
        try:
            with Image.open(io.BytesIO(content), formats=IMAGE_TYPES) as image:
                width, height = image.size
        except Image.DecompressionBombError as error:
            return "image-pixels", f"{name}: {error}"
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
            return "image-type", f"{name}: not one of {', '.join(IMAGE_TYPES)}, or damaged"
    if width * height > max_pixels:
        return "image-pixels", f"{name}: {width} × {height}"
    return ImageFacts(width, height, hashlib.sha256(content).hexdigest())
