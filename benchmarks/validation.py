"""How fast are rows checked, against bare JSON decoding of the same file, and in how much memory?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.harness import Figure, seconds
from sft.dataset import rows

ROWS = 200_000
SMALL = 10_000


def write_rows(path: Path, count: int) -> None:
    """Rows of about 230 bytes in ERNIEKit's format."""
    with path.open("w") as file:
        for number in range(count):
            row = {
                "image_info": [{"matched_text_index": 0, "image_url": f"./images/{number:08d}.jpg"}],
                "text_info": [
                    {"text": "OCR:", "tag": "mask"},
                    {"text": f"line {number} of a page with some words on it", "tag": "no_mask"},
                ],
            }
            file.write(json.dumps(row) + "\n")


def peak_memory(path: Path) -> float:
    """MB that a process needs to read the whole file through the decoder."""
    body = (
        "import sys; from pathlib import Path; from sft.dataset.reading import read_samples\n"
        "for sample in read_samples(Path(sys.argv[1]), 'erniekit'): pass\n"
        # Not ru_maxrss, which a child takes over from the process that forked it.
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    return int(subprocess.check_output([sys.executable, "-c", body, str(path)])) / 1024


def figures() -> Iterator[Figure]:
    """Rates on one core, rows held in memory so that the disk does not count."""
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "rows.jsonl", Path(folder) / "small.jsonl"
        write_rows(path, ROWS)
        write_rows(small, SMALL)
        lines = path.read_bytes().splitlines()
        bare = msgspec.json.Decoder()
        checked = ROWS / seconds(lambda: [rows.decode(line, "erniekit") for line in lines])
        decoded = ROWS / seconds(lambda: [bare.decode(line) for line in lines])
        yield Figure(
            "rules of structure, one core", checked, decoded, "rows/s (bare JSON)", "≥ 0.5", checked / decoded >= 0.5
        )
        large_mb, small_mb = peak_memory(path), peak_memory(small)
        question = f"peak memory, {ROWS} rows against {SMALL}"
        yield Figure(question, large_mb, small_mb, "MB", "≤ 1.1 and ≤ 200 MB", large_mb <= min(200, 1.1 * small_mb))
