"""How many tokens a row becomes: the image after the processor's smart resize, the text by tokenizer or estimate."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sft.dataset.rules import BYTES_PER_TOKEN
from sft.families import TASKS, V0_9B, Task

FACTOR = 28  # px: a patch of 14 × 14, merged 2 × 2, is one token
MAX_RATIO = 200  # longer images are refused by the processor
MIN_SIDE = 4  # px: 1 or 3 rows of pixels the processor takes for colours, and of one column it makes none; it fails
TEMPLATE = 16  # tokens that the chat template adds to a turn, about
TEMPLATE_MOST = 24  # the same where each of its characters is a token
MARKS = 2  # tokens round an image
BEFORE = "User: "  # the template of PaddleFormers 1.2.0 (datasets/template/template.py); ERNIEKit's differs by a token
PADDING = 15  # px: what PaddleFormers' augmentation may add to one side
ENLARGED = 0.5  # share of the images that its augmentation scales, evenly between 0.5 and ``Limits.enlarges``


def smart_resize(height: int, width: int, *, min_pixels: int, max_pixels: int, factor: int = FACTOR) -> tuple[int, int]:
    """(height, width) in px after the processor: multiples of ``factor``, the ratio kept, the area within bounds.

    Source: ``smart_resize`` of PaddleFormers 1.2.0, paddleformers/transformers/paddleocr_vl/image_processor.py; tests
    compare with it.

    Raises:
        ValueError: the image is more than 200 times as long as wide.
    """
    if height < factor:
        width, height = round(width * factor / height), factor
    if width < factor:
        height, width = round(height * factor / width), factor
    if max(height, width) / min(height, width) > MAX_RATIO:
        raise ValueError(f"aspect ratio {max(height, width) / min(height, width):.0f} over {MAX_RATIO}")
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    if rows * columns > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows, columns = (math.floor(side / shrink / factor) * factor for side in (height, width))
    elif rows * columns < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = (math.ceil(side * grow / factor) * factor for side in (height, width))
    return rows, columns


@dataclass(frozen=True)
class Limits:
    """What a row may become.

    Attributes:
        max_seq_len: tokens.
        min_pixels, max_pixels: the processor's bounds; the defaults are those of PaddlePaddle/PaddleOCR-VL.
        tokenizer: path of the base model's tokenizer.json; empty: text is estimated.
        enlarges: by how much the trainer's augmentation may lengthen an image's sides; 1: it does not.
        asks: what stands between a prompt and its answer (see :mod:`sft.families`).
        tasks: that the base model was trained for; ``places``: has it tokens of places?
        text_bytes: bytes of UTF-8 that are 100 tokens, for the estimates (see :mod:`sft.dataset.packing`).
    """

    max_seq_len: int = 16384
    min_pixels: int = V0_9B.min_pixels
    max_pixels: int = V0_9B.max_pixels
    tokenizer: str = ""
    enlarges: float = 1.0
    text_bytes: int = 100 * BYTES_PER_TOKEN
    asks: str = V0_9B.asks
    tasks: tuple[Task, ...] = TASKS
    places: bool = True

    @classmethod
    def of_model(cls, folder: Path, max_seq_len: int) -> Limits:
        """The bounds of a model's folder; what it does not say is the default."""
        values: dict[str, Any] = {}
        try:
            said = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
            values = {key: int(said[key]) for key in ("min_pixels", "max_pixels") if key in said}
        except (OSError, ValueError, TypeError):
            values = {}
        tokenizer = folder / "tokenizer.json"
        return cls(max_seq_len=max_seq_len, tokenizer=str(tokenizer) if tokenizer.is_file() else "", **values)

    @property
    def shrunk(self) -> int:
        """Of an image with more pixels than these, more than three quarters are lost."""
        return 4 * self.max_pixels

    @property
    def exact(self) -> bool:
        """Is text counted, not estimated?"""
        return bool(self.tokenizer) and _can_count()

    def image_tokens(self, width: int, height: int) -> int:
        """Tokens of an image of that size (px)."""
        return _image_tokens(width, height, self.min_pixels, self.max_pixels)

    def most_image_tokens(self, width: int, height: int) -> int:
        """The same of an image that the trainer's augmentation has enlarged as much as it may."""
        most = self.image_tokens(width, height)
        return most if self.enlarges == 1 else max(most, self._scaled(width, height, self.enlarges, PADDING))

    @property
    def largest_image(self) -> int:
        """No image has more tokens, whatever its size."""
        return self.max_pixels // FACTOR**2

    def left_out(self, width: int, height: int, room: int) -> float:
        """How often (a share of the passes) the trainer enlarges an image until it has more than ``room`` tokens."""
        steps = 40
        scales = [1 + (self.enlarges - 1) * (i + 0.5) / steps for i in range(steps)]
        over = sum(self._scaled(width, height, scale, 0) > room for scale in scales) / steps
        return ENLARGED * over * (self.enlarges - 1) / (self.enlarges - 0.5)

    def _scaled(self, width: int, height: int, scale: float, padding: int) -> int:
        return _scaled_tokens(width, height, self.min_pixels, self.max_pixels, scale, padding)

    def text_tokens(self, text: str) -> int:
        """Tokens of a text, without the template's."""
        return counter(self.tokenizer)(text)

    def row_tokens(self, turns: Sequence[tuple[str, str]], images: int) -> int:
        """Tokens of a row without those of its images: the trainer's own count with a tokenizer, else as many as they
        can be at most: a token is at least one byte.
        """
        count = self.text_tokens if self.exact else _bytes
        texts = sum(count(f"{BEFORE}{prompt}{self.asks}") + count(answer) for prompt, answer in turns)
        return texts + 1 + len(turns) + MARKS * images  # one begins, one ends each turn


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=1)
def _can_count() -> bool:
    return importlib.util.find_spec("tokenizers") is not None


@lru_cache(maxsize=4096)
def _image_tokens(width: int, height: int, min_pixels: int, max_pixels: int) -> int:
    rows, columns = smart_resize(height, width, min_pixels=min_pixels, max_pixels=max_pixels)
    return rows * columns // FACTOR**2


@lru_cache(maxsize=4096)
def _scaled_tokens(width: int, height: int, min_pixels: int, max_pixels: int, scale: float, padding: int) -> int:
    """Tokens after the augmentation: the image is resized, scaled, padded on one side, and resized again.

    Source: ``PaddleOCRVLPlugin`` of PaddleFormers 1.2.0, paddleformers/datasets/template/mm_plugin.py.
    """
    bounds = {"min_pixels": min_pixels, "max_pixels": max_pixels}
    plain = smart_resize(height, width, **bounds)
    rows, columns = (int(side * scale) for side in plain)
    try:
        found = [smart_resize(*shape, **bounds) for shape in {(rows + padding, columns), (rows, columns + padding)}]
    except ValueError:  # of two hundred times as long as wide, a side is rounded down
        found = [plain]
    return max(rows * columns for rows, columns in found) // FACTOR**2


@lru_cache(maxsize=4)
def loaded(tokenizer: str) -> Any:
    """A tokenizer.json, read once: of the real model it has megabytes."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(tokenizer)


@lru_cache(maxsize=4)
def counter(tokenizer: str) -> Callable[[str], int]:
    """Counts the tokens of a text; the estimate where ``tokenizer`` is empty or the package is missing."""
    if tokenizer and _can_count():
        encode = loaded(tokenizer).encode
        return lambda text: len(encode(text, add_special_tokens=False).ids)
    return lambda text: math.ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)
