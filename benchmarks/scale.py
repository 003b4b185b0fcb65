"""Does validation stay as fast and as small with ten million rows?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, once
from benchmarks.sizes import size
from benchmarks.validation import CORES, peak_memory, write_rows
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file

ROWS, LARGE = size(1_000_000, 100_000), size(10_000_000, 1_000_000)


def figures() -> Iterator[Figure]:
    """Text rules on all cores, and the memory of one process, against a tenth of the rows."""
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name) / "small.jsonl", Path(name) / "large.jsonl"
        write_rows(small, ROWS)
        write_rows(large, LARGE)
        config = DatasetConfig(workers=CORES)
        validate_file(small, config, images=False)
        rate = LARGE / once(lambda: validate_file(large, config, images=False))
        other = ROWS / once(lambda: validate_file(small, config, images=False))
        memory, less = peak_memory(large), peak_memory(small)
    question = f"{LARGE:,} rows on {CORES} cores"
    yield Figure(question, rate, other, f"rows/s ({ROWS:,} rows)", "≥ 0.8", rate >= 0.8 * other)
    yield Figure("peak memory of that", memory, less, f"MB ({ROWS:,} rows)", "≤ 200 MB", memory <= 200)
