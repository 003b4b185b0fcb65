"""Scans ranges of a dataset file, as several processes share them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sft.dataset.digests import DIGEST, LINE_DIGEST
from sft.dataset.images import Folder
from sft.dataset.lines import blocks
from sft.dataset.parts import Options, Part
from sft.dataset.reading import image_folder
from sft.dataset.repeats import ordered
from sft.dataset.scan import Scanner


class Reader:
    """Scans ranges of one file, one after the other; the folders of its images are resolved once."""

    def __init__(self, path: Path, options: Options) -> None:
        self.path, self.options = path, options
        self._folder = Folder(image_folder(path), options.bounds)

    def scan(self, piece: tuple[int, int]) -> Part:
        """What the lines that begin in [start, end) come to.

        Raises:
            DatasetError: the compressed file is damaged.
        """
        scanner = Scanner(self.options, self._folder)
        with _no_garbage():
            for block in blocks(self.path, *piece):
                scanner.block(block)
        part = scanner.part
        part.ordered = ordered(part.digests, DIGEST if self.options.images else LINE_DIGEST)
        return part


@contextmanager
def _no_garbage() -> Iterator[None]:
    """The rows have no cycles: looking for them costs more than decoding."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
