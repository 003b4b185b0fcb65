"""A picture as a person sees it: upright, on white paper, grey or RGB with 8 bits. Trainer and reader get the same.

Left to themselves they differ: trainers ignore the turn that Exif asks for, make a page of 16 bits white (Pillow clips
it), drop transparency so that the paper becomes black, and PaddleFormers 1.2.0 skips rows of 1-bit and palette images,
because its scaling does not know them.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageCms, ImageOps

from sft.dataset import headers
from sft.dataset.headers import ORIENTATION
from sft.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np

PLAIN = ("L", "RGB", "RGBA")  # modes that need nothing, where the last is opaque
TURNED, DEEP, CLEAR, INK, OTHER = "turned upright", "16 bits to 8", "put on white", "CMYK to RGB", "mode to RGB"
QUALITY = 97  # of a JPEG that was converted: what it loses cannot be seen
VERSION = 1  # of the conversion: part of a training's identity where it has converted pictures


def open_as_seen(path: Path) -> Image.Image:
    """The picture of a file in mode RGB; of an animation the first frame."""
    with opened(path) as image:
        return as_seen(image)[0]


def opened(path: Path) -> Image.Image:
    """The file, without Pillow's warning of a large one: the bounds are ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def as_seen(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """(the picture in mode RGB, what was done to it). Nothing was done to one that is grey or RGB, upright and opaque.

    Raises:
        OSError: its pixels cannot be decoded.
    """
    done = []
    upright = image
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        upright = ImageOps.exif_transpose(image)
        done.append(TURNED)
    if upright.mode.startswith(("I", "F")):
        upright = _eight_bits(upright)
        done.append(DEEP)
    if upright.has_transparency_data:
        clear = upright.convert("RGBA")
        if clear.getchannel("A").histogram()[255] < clear.width * clear.height:
            done.append(CLEAR)
            paper = Image.new("RGBA", clear.size, "white")
            return Image.alpha_composite(paper, clear).convert("RGB"), tuple(done)
    if upright.mode == "CMYK":
        done.append(INK)
        return _from_ink(upright), tuple(done)
    if upright.mode not in PLAIN:
        done.append(OTHER)
    return upright.convert("RGB"), tuple(done)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey with 16 bits, or numbers of another range, as 8 bits: 65535 is white, and so is 1.0 of floats up to 1."""
    import numpy as np

    values = np.asarray(image, dtype=np.float64)
    values = np.where(np.isfinite(values), values, 0.0)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low >= 0 and high <= 65535 and (image.mode != "F" or high > 255):
        scaled = values / 257
    elif image.mode == "F" and low >= 0:
        scaled = values * 255 if high <= 1 else values
    else:  # no range that the format states: the darkest is black, the brightest white
        scaled = (values - low) * (255 / (high - low))
    bytes_: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = np.rint(scaled).astype(np.uint8)
    return Image.fromarray(bytes_)


def _from_ink(image: Image.Image) -> Image.Image:
    """CMYK by the picture's own colour profile; without one, or with a damaged one, by the plain formula."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def saved_as_seen(path: Path, target: Path) -> tuple[Path, tuple[str, ...]]:
    """(a file of the picture as it is seen, what was done to it): ``path`` itself where nothing had to be done.

    Args:
        target: where a converted picture goes, without suffix: a JPEG stays one, all others become PNG.
    Raises:
        OSError: its pixels cannot be decoded.
    """
    with opened(path) as image:
        kind = image.format
        seen, done = as_seen(image)
    if not done:
        return path, done
    target.parent.mkdir(parents=True, exist_ok=True)
    if kind == "JPEG":
        target = target.with_name(f"{target.name}.jpg")
        seen.save(target, quality=QUALITY, subsampling=0)
    else:
        target = target.with_name(f"{target.name}.png")
        seen.save(target, compress_level=1)
    return target, done


def told(done: Mapping[str, int]) -> str:
    """What was done to how many pictures, in words."""
    return ", ".join(f"{count} × {what}" for what, count in done.items())


class Converter:
    """Gives trainers the pictures as they are seen: what needs it is converted into ``folder``, side by side.

    ``done`` counts what was done to how many files.
    """

    def __init__(self, folder: Path) -> None:
        self.done: Counter[str] = Counter()
        self._folder = folder
        self._converted: dict[str, str] = {}

    def paths(self, names: Sequence[str]) -> list[str]:
        """For each file the one that a trainer may read: itself, where nothing has to be done.

        Raises:
            DatasetError: a file cannot be decoded.
        """
        fresh = [name for name in dict.fromkeys(names) if name not in self._converted]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside of Python's lock
            for name, (path, done) in zip(fresh, pool.map(self._convert, fresh)):
                if done:
                    self.done.update(done)
                    self._converted[name] = str(path)
        return [self._converted.get(name, name) for name in names]

    def _convert(self, name: str) -> tuple[Path, tuple[str, ...]]:
        path = Path(name)
        try:
            if not headers.of_file(path).odd:
                return path, ()
            key = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
            return saved_as_seen(path, self._folder / key)
        except (OSError, ValueError, SyntaxError, headers.Unreadable) as error:
            remedy = "sft validate --images decode finds all such files; replace or remove them"
            raise DatasetError("an image cannot be decoded", where=name, value=str(error), remedy=remedy) from error

    def remove(self) -> None:
        """Remove what was converted."""
        shutil.rmtree(self._folder, ignore_errors=True)
