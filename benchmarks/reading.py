"""How much faster does transformers read than PaddleFormers, where their answers are the same?

The demo's held-out rows and its tiny base model, on the CPU, read as the demo reads them. Loading is not counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.harness import Figure, turns
from benchmarks.sizes import size
from sft.config import load
from sft.models.questions import Answer
from sft.models.readers import Reader, open_reader, unavailable
from sft.smoke import digits, tiny

ROWS = size(300, 60)


def figures() -> Iterator[Figure]:
    """Both in turns, on the same rows; nothing where transformers is not installed (``make torch``)."""
    if unavailable("transformers"):
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny.materialise(folder / "model")
        digits.write_dataset(folder / "data", train_rows=1, held_out_rows=ROWS, seed=1)
        images = sorted((folder / "data" / "held_out").iterdir())
        with (
            closing(open_reader("transformers", folder / "model", "cpu")) as ours,
            closing(open_reader("paddleformers", folder / "model", "cpu")) as reference,
        ):
            taken = turns(partial(_read, ours, images), partial(_read, reference, images), repeats=5)
            differ = sum(a != b for a, b in zip(_read(ours, images), _read(reference, images), strict=True))
    rate, other = taken.rate(ROWS)
    question = f"transformers reads {ROWS} rows, {differ} answers differ"
    met = differ == 0 and rate > other
    yield Figure(question, rate, other, "rows/s (paddleformers)", "> 1, none differs", met, taken.spread())


def _read(reader: Reader, images: list[Path]) -> list[Answer]:
    how = load("smoke").config.evaluate
    rows = [(image, "OCR:") for image in images]
    found = dict(reader.answers(rows, batch_size=how.batch_size, max_new_tokens=how.max_new_tokens))
    return [found[number] for number in range(len(rows))]
