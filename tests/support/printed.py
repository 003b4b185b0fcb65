"""Lines of printed digits: what the tiny base model reads without a mistake (scripts/pretrain_tiny_base.py)."""

from __future__ import annotations

import random
from pathlib import Path

import matplotlib
from PIL import ImageFont

from scripts.pretrain_tiny_base import FONTS, printed_glyph
from sft.smoke import digits


def write_printed(folder: Path, name: str, rows: int, seed: int) -> Path:
    """Write ``name.jsonl`` and its images; returns the file."""
    place = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(place / f"{font}.ttf"), 20) for font in FONTS[:5]]
    lines = digits.lines(random.Random(seed), rows, lambda rng, digit: printed_glyph(rng, digit, fonts, 0.0))
    return digits.write_split(folder, name, lines)
