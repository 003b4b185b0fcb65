"""How fast are error rates computed, and how much does reading in batches save?"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from benchmarks.harness import Figure, seconds, turns
from benchmarks.sizes import size
from sft import metrics
from sft.metrics.scores import value
from sft.smoke import digits, tiny

PAIRS = size(100_000, 20_000)
LENGTH = 100  # characters
PLAIN = 200  # pairs for the plain Python programme
ROWS = 64  # images that are read
BATCH = 32


def figures() -> Iterator[Figure]:
    """Pairs of 100 characters with 10 % errors, normalisation included; then reading 64 lines of digits."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmno", k=rng.randint(2, 9))) for _ in range(5000)]
    truths = [" ".join(rng.choices(words, k=40))[:LENGTH] for _ in range(PAIRS)]
    answers = ["".join(c if rng.random() > 0.1 else "x" for c in t) for t in truths]

    def ours() -> None:
        judged = metrics.judge(truths, answers, words=False)
        value(judged, "cer"), value(judged, "ned")

    taken = turns(ours, lambda: [Levenshtein.distance(a, b) for a, b in zip(truths, answers)], repeats=5)
    one, bare = taken.ours.median, taken.reference.median
    met, unit = bare / one >= 1 / 1.5, "pairs/s (bare distances)"
    yield Figure("CER and NED", PAIRS / one, PAIRS / bare, unit, "≥ 0.67", met, taken.spread())
    plain = seconds(lambda: [_plain(a, b) for a, b in zip(truths[:PLAIN], answers)], repeats=1) * PAIRS / PLAIN
    yield Figure("CER and NED", PAIRS / one, PAIRS / plain, "pairs/s (plain Python)", "≥ 500", plain / one >= 500)
    every = seconds(lambda: metrics.judge(truths, answers))
    yield Figure("all measures of text", PAIRS / every, PAIRS / bare, "pairs/s (bare distances)", "none", True)
    batched, single, equal = _reading()
    met = single / batched >= 3 and equal
    yield Figure("reading in batches", ROWS / batched, ROWS / single, "rows/s (one by one)", "≥ 3, equal", met)


def _plain(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


_READING = """
import json, sys, time
from pathlib import Path
from sft.models.recognition import Recogniser
recogniser = Recogniser(Path(sys.argv[1]), "cpu")
rows = [(Path(image), "OCR:") for image in sys.argv[3:]]
def read(size):
    started = time.perf_counter()
    texts = [text for _, text in sorted(recogniser.read(rows, batch_size=size, max_new_tokens=10))]
    return time.perf_counter() - started, texts
read(int(sys.argv[2]))
(batched, a), (single, b) = read(int(sys.argv[2])), read(1)
print("OUT", json.dumps([batched, single, a == b]))
"""


def _reading() -> tuple[float, float, bool]:
    """(seconds in batches, seconds one by one, were the answers equal?), in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        model, data = Path(folder) / "model", Path(folder) / "data"
        tiny.materialise(model)
        digits.write_dataset(data, train_rows=1, held_out_rows=ROWS, seed=3)
        images = [str(path) for path in sorted((data / "held_out").iterdir())]
        command = [sys.executable, "-c", _READING, str(model), str(BATCH), *images]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    batched, single, equal = json.loads(out.split("OUT", 1)[1])
    return batched, single, equal
