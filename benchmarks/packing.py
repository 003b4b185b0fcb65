"""Rows of mixed length in forward passes without padding, against the same rows in padded batches, on the CPU.

The reference is what the documentation of transformers does: eight rows in a batch, padded to the longest, attention
mask, the model's own loss over all positions, ``sdpa``. Ours: passes of as many tokens as such a batch has places at
most. Forward and backward, rows encoded before; losses (nats per token over all rows) must be equal.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from benchmarks.harness import Figure
from benchmarks.sizes import size
from sft.models.second_reader import PROJECT, interpreter
from sft.smoke import tiny

ROWS = size(256, 64)
BATCH = 8
GOAL = 1.3
BODY = """
import json, sys, time, torch, transformers
from pathlib import Path
from sft.torch_trainer import attention, passes, rows
base, file, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
transformers.logging.set_verbosity_error(); transformers.logging.disable_progress_bar()
attention.register()
encoder = rows.Encoder(base)
encoded = [encoder.encode(rows.Row.of(line)) for line in file.open("rb")]
lengths = [len(row.ids) for row in encoded]
learned = sum(int((row.labels[1:] != rows.IGNORED).sum()) for row in encoded)
batches = [encoded[start:start + size] for start in range(0, len(encoded), size)]
budget = max(size * max(len(row.ids) for row in batch) for batch in batches)
packed, current, filled = [], [], 0
for row in encoded:
    if current and filled + len(row.ids) > budget:
        packed, current, filled = [*packed, current], [], 0
    current, filled = [*current, row], filled + len(row.ids)
packed.append(current)
def padded(batch):
    longest = max(len(row.ids) for row in batch)
    def full(values, value):
        return torch.stack([torch.nn.functional.pad(v, (0, longest - len(v)), value=value) for v in values])
    ids, labels = full([row.ids for row in batch], 0), full([row.labels for row in batch], rows.IGNORED)
    mask = full([torch.ones_like(row.ids) for row in batch], 0)
    kinds = (ids == encoder.config.image_token_id).int() * mask.int()
    return {"input_ids": ids, "labels": labels, "attention_mask": mask, "mm_token_type_ids": kinds,
            "pixel_values": torch.cat([row.patches for row in batch]),
            "image_grid_thw": torch.cat([row.grid for row in batch])}
def timed(kind, made, loss):
    model = transformers.AutoModelForImageTextToText.from_pretrained(base, attn_implementation=kind).train()
    best, total = float("inf"), 0.0
    for turn in range(4):  # the first one warms up
        total, started = 0.0, time.perf_counter()
        for inputs in made:
            value = loss(model, dict(inputs))
            value.backward()
            total += float(value)
        if turn:
            best = min(best, time.perf_counter() - started)
        model.zero_grad()
    return best, total
def theirs(model, inputs):
    return model(**inputs, num_items_in_batch=learned).loss
def ours(model, inputs):
    labels = inputs.pop("labels")
    return passes.loss(model(**inputs), labels, learned)
one, a = timed("sdpa", [padded(batch) for batch in batches], theirs)
two, b = timed(attention.BY_ROW, [passes.together([batch]) for batch in packed], ours)
print(json.dumps({"padded": len(encoded) / one, "packed": len(encoded) / two, "losses": [a, b]}))
"""


def figures() -> Iterator[Figure]:
    """Rows a second, packed against padded; nothing where there is no environment with torch."""
    if (python := interpreter()) is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        base, file = Path(folder) / "base", Path(folder) / "rows.jsonl"
        tiny.materialise(base)
        _write(file)
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
        command = [str(python), "-P", "-W", "ignore", "-c", BODY, str(base), str(file), str(BATCH)]
        told = json.loads(subprocess.check_output(command, env=environment, text=True).splitlines()[-1])
    padded, packed = told["losses"]
    equal = abs(padded - packed) <= 1e-4 * padded
    question = f"training passes of {ROWS} rows of mixed length, packed (losses {packed:.5f} and {padded:.5f})"
    met = equal and told["packed"] >= GOAL * told["padded"]
    yield Figure(question, told["packed"], told["padded"], "rows/s (padded batches)", f"≥ {GOAL}, equal losses", met)


def _write(file: Path) -> None:
    """Most answers are a line, one in eight a paragraph, one in forty a page: as documents in parts are."""
    dice = random.Random(1)
    with file.open("w") as rows:
        for number in range(ROWS):
            image = file.parent / f"{number}.png"
            Image.effect_noise((dice.randrange(56, 560), 28), 60).save(image)
            length = dice.choices((dice.randrange(3, 40), dice.randrange(80, 300), 600), (34, 5, 1))[0]
            answer = "".join(dice.choices("0123456789", k=length))
            messages = [{"role": "user", "content": "<image>OCR:"}, {"role": "assistant", "content": answer}]
            rows.write(json.dumps({"messages": messages, "images": [str(image)]}) + "\n")
