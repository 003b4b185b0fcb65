"""How many of the labels that were spoiled on purpose does ``sft doubtful`` find, and how many does it accuse wrongly?

The demo's digits with three of a hundred training labels spoiled (a digit changed, two swapped, one dropped, one added,
or another row's label), a training like the demo's, with transformers where it is installed. The seed is one that the
threshold was not chosen on (those were 11 and 12).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, smoke_run
from sft.models.readers import unavailable
from sft.smoke import digits

SEED, SHARE = 21, 0.03
RECALL, PRECISION = 0.9, 0.8


def figures() -> Iterator[Figure]:
    """Recall and precision on the rows that were trained on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits.write_dataset(folder, train_rows=4000, held_out_rows=300, seed=SEED)
        spoiled = spoil(folder / "train.jsonl", SEED)
        settings = ["dataset.digits=null", "dataset.train=train.jsonl", "dataset.held_out=held_out.jsonl"]
        settings += ["promote.mode=never"] + ([] if unavailable("transformers") else ["engine=transformers"])
        command, environment = smoke_run(folder, settings)
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        identity = json.loads(next(folder.glob("models/*/report.json")).read_text())["training"]["identity"][:16]
        given = [part for setting in settings for part in ("--set", setting)]
        code = "from cli.run import main; main()"
        command = [sys.executable, "-c", code, "doubtful", "smoke", "train", "--model", identity, *given]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        tasks = json.loads(next(folder.glob("models/doubtful/*/doubtful.json")).read_text())
    found = {task["data"]["row"] for task in tasks}
    right = len(found & spoiled)
    recall, precision = right / len(spoiled), right / max(1, len(found))
    unit = "labels"
    yield Figure("spoiled training labels that are found", right, len(spoiled), unit, f"≥ {RECALL}", recall >= RECALL)
    yield Figure("of those called doubtful, spoiled", right, len(found), unit, f"≥ {PRECISION}", precision >= PRECISION)


def spoil(path: Path, seed: int) -> set[int]:
    """Spoil a share of the labels of a file of digits; returns their rows."""
    rows, rng = [json.loads(line) for line in path.read_text().splitlines()], random.Random(f"spoil{seed}")
    labels = [row["text_info"][1]["text"] for row in rows]
    spoiled = set(rng.sample(range(len(rows)), round(SHARE * len(rows))))
    for number in sorted(spoiled):
        wrong = labels[number]
        while wrong == labels[number]:
            wrong = _wrong(labels[number], rng.choice(labels), rng)
        rows[number]["text_info"][1]["text"] = wrong
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return spoiled


def _wrong(label: str, other: str, rng: random.Random) -> str:
    at, digit = rng.randrange(len(label)), rng.choice("0123456789")
    kinds = (
        label[:at] + digit + label[at + 1 :],
        label[:at] + label[at : at + 2][::-1] + label[at + 2 :],
        label[:at] + label[at + 1 :],
        label[:at] + digit + label[at:],
        other,
    )
    return rng.choice(kinds)
