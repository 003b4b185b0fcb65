"""Lines of digits, as images: composed from real handwriting (UCI optdigits, bundled with scikit-learn).

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
scikit-learn bundles its 1,797 test samples of 8 × 8 pixels by 13 writers, in the order of the writers. The samples
for training and for the held-out set are therefore cut apart by a gap wider than any one writer's share (1797 / 13 ≈
138), so that no writer is in both.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEIGHT = 28  # px: one merged patch of PaddleOCR-VL (2 × 14)
GLYPH = 20  # px
TRAIN_SAMPLES = slice(0, 1250)
HELD_OUT_SAMPLES = slice(1400, 1797)
DATASET_VERSION = 1  # raise it when the composition changes: it is part of the dataset's identity

Glyphs = dict[str, "list[Image.Image]"]


def handwritten(samples: slice) -> Glyphs:
    """Digit → its handwritten samples as grey images (dark on white) of 20 × 20 px.

    Args:
        samples: which of the 1,797 samples, in the order of scikit-learn's file.
    """
    import numpy as np

    # Its file, not load_digits: scikit-learn takes two seconds to import.
    found = find_spec("sklearn")
    assert found is not None
    assert found.origin is not None
    data: NDArray[np.float64] = np.loadtxt(Path(found.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    glyphs: Glyphs = {str(digit): [] for digit in range(10)}
    for row in data[samples]:
        grey = Image.fromarray((255 - row[:-1].reshape(8, 8) * (255 / 16)).astype("uint8"))
        glyphs[str(int(row[-1]))].append(grey.resize((GLYPH, GLYPH), Image.Resampling.BICUBIC))
    return glyphs


def compose(rng: random.Random, text: str, pick: Callable[[random.Random, str], Image.Image]) -> Image.Image:
    """Set the glyphs of ``text`` side by side, one in each 28 px, with small random shifts.

    Returns: an ``L`` image, 28 px high and 28 px wide for each character.
    """
    line = Image.new("L", (len(text) * HEIGHT, HEIGHT), 255)
    for number, character in enumerate(text):
        glyph = pick(rng, character)
        middle = (HEIGHT - GLYPH) // 2
        line.paste(glyph, (number * HEIGHT + middle + rng.randint(-3, 3), middle + rng.randint(-3, 3)))
    return line


def lines(
    rng: random.Random,
    count: int,
    pick: Callable[[random.Random, str], Image.Image],
    lengths: Sequence[int] = (3, 4, 5, 6),
) -> Iterator[tuple[str, Image.Image]]:
    """``count`` pairs of text (as many digits as one of ``lengths``, drawn evenly) and image."""
    for _ in range(count):
        text = "".join(rng.choice("0123456789") for _ in range(rng.choice(lengths)))
        yield text, compose(rng, text, pick)


def from_glyphs(glyphs: Glyphs) -> Callable[[random.Random, str], Image.Image]:
    """A picker for :func:`compose` that draws one of the samples of a digit."""
    return lambda rng, digit: rng.choice(glyphs[digit])


def erniekit_row(image: str, text: str) -> dict[str, Any]:
    """One row in ERNIEKit's format."""
    return {
        "image_info": [{"matched_text_index": 0, "image_url": image}],
        "text_info": [{"text": "OCR:", "tag": "mask"}, {"text": text, "tag": "no_mask"}],
    }


def write_split(
    folder: Path, name: str, pairs: Iterator[tuple[str, Image.Image]], row: Callable[[str, str], Any] = erniekit_row
) -> Path:
    """Write ``name.jsonl`` and its images below ``folder``; returns the JSONL's path."""
    images = folder / name
    images.mkdir(parents=True, exist_ok=True)
    rows: list[str] = []
    for number, (text, image) in enumerate(pairs):
        image.save(images / f"{number:05d}.png")
        rows.append(json.dumps(row(f"./{name}/{number:05d}.png", text)))
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_dataset(folder: Path, *, train_rows: int, held_out_rows: int, seed: int) -> None:
    """Write the smoke dataset (``train.jsonl``, ``held_out.jsonl`` and their images) into ``folder``."""
    splits: Sequence[tuple[str, slice, int]] = (
        ("train", TRAIN_SAMPLES, train_rows),
        ("held_out", HELD_OUT_SAMPLES, held_out_rows),
    )
    for name, samples, rows in splits:
        rng = random.Random(f"{name}-{seed}-{DATASET_VERSION}")
        write_split(folder, name, lines(rng, rows, from_glyphs(handwritten(samples))))
