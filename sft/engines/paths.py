"""Paths as a trainer takes them whole: plain characters only, relative to its working folder where that is needed.

Both trainers remove blanks from the path of the training set and split it on commas; PaddleFormers takes ``#`` in it
for a number of rows (``MultiSourceDataset`` in paddleformers/datasets/reader/multi_source_datasets.py,
``SFTMultimodalDatasetJson._load`` in ERNIE's ernie/dataset/vl_sft_reader/vl_sft_dataset_json.py).
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9_./@+][A-Za-z0-9_./@+-]*")


def told(path: Path, work: Path) -> Path:
    """The name by which a program whose working folder is ``work`` finds ``path``.

    A path of plain characters stays as it is. Else it is named relative to ``work``: what is odd is nearly always a
    folder above both. Where even that is odd, a link in ``work`` stands for it.
    """
    if _PLAIN.fullmatch(str(path)):
        return path
    relative = Path(os.path.relpath(path.resolve(), work.resolve()))
    if _PLAIN.fullmatch(str(relative)):
        return relative
    link = work / f"link-{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}{_plain_suffix(path)}"
    with suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(path.resolve())
    return Path(link.name)


def _plain_suffix(path: Path) -> str:
    """The suffix says a trainer what a file is."""
    return path.suffix if _PLAIN.fullmatch(path.suffix) else ""
