"""Reading in batches gives what reading row by row gives, with the real model on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

from sft.smoke import digits, tiny

BODY = """
import json, sys
from pathlib import Path
from sft.recognition import Recogniser
recogniser = Recogniser(Path(sys.argv[1]), "cpu")
rows = [(Path(image), "OCR:") for image in sys.argv[2:]]
def read(size):
    numbered = list(recogniser.read(rows, batch_size=size, max_new_tokens=10))
    return [text for _, text in sorted(numbered)]
seen = []  # positions that the first layer is given, step by step
layer = recogniser._model.model.layers[0]
layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
one_by_one, batched = read(1), read(7)
steps = seen[-5:]
recogniser._model.update_model_kwargs_for_generation = type(recogniser._model).update_model_kwargs_for_generation
print("OUT", json.dumps([one_by_one, batched, read(7), steps, seen[-5:]]))
"""


def test_a_batch_of_different_widths_reads_like_its_rows_one_by_one(tmp_path: Path) -> None:
    tiny.materialise(tmp_path / "model")
    digits.write_dataset(tmp_path / "data", train_rows=1, held_out_rows=21, seed=3)
    images = [str(path) for path in sorted((tmp_path / "data" / "held_out").iterdir())]
    command = [sys.executable, "-c", BODY, str(tmp_path / "model"), *images]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "OUT" in process.stdout, process.stderr[-3000:]
    one_by_one, batched, anew, steps, steps_anew = json.loads(process.stdout.split("OUT", 1)[1])
    assert batched == one_by_one
    assert batched == anew, "what PaddleFormers reads when each step begins at the image"
    assert steps == [1] * 5, "a step goes on from the one before"
    assert min(steps_anew) > 20, "PaddleFormers has learnt to do so by itself: take our correction out"
    assert len({len(text) for text in batched}) > 1, "rows of different widths"
    assert all(text.isdigit() for text in batched), "the base model reads digits, and stops at their end"
