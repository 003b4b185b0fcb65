"""The second reader of a saved model: transformers, in an environment of its own (transformers_reader.py).

Torch and Paddle do not share a process (each brings its own CUDA libraries), and transformers 5.24 asks for another
safetensors than the trainers may have (it only reads here; 0.8.0 writes arrays wrong that are not contiguous). ``make
torch`` makes the environment on this machine; at Modal the image of check_export has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sft.dataset.pictures import as_seen
from sft.errors import IntegrityError
from sft.models import transformers_reader
from sft.processes import die_with_parent

VARIABLE = "SFT_TORCH_PYTHON"  # the other environment's Python; empty: there is none
PROJECT = Path(__file__).parents[2]
PACKAGES = PROJECT / "sft" / "environments" / "second_reader"  # torch.txt, and the lock of the rest
SCRIPT = Path(transformers_reader.__file__)
TAIL = 300  # characters of an error that are shown


class NotInstalled(Exception):
    """There is no such environment, or it is not whole: why, and what makes it."""


@dataclass(frozen=True)
class Reading:
    """The answers in the order of the rows, and by what they were read."""

    texts: list[str]
    versions: dict[str, str]
    device: str
    missing: list[str]
    unexpected: list[str]


def interpreter() -> Path | None:
    """The Python that has torch and transformers, or None."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else PROJECT / ".venv-torch" / "bin" / "python"
    return path if named != "" and path.is_file() else None


def read(
    model: Path, rows: Sequence[tuple[Path, str]], *, device: str, batch_size: int, max_new_tokens: int
) -> Reading:
    """Let transformers load the model and read the rows, greedily.

    Args:
        rows: (image, prompt) pairs.
        device: "cpu" or "gpu".
    Raises:
        NotInstalled: there is nothing to read with.
        IntegrityError: transformers does not load the model, or cannot read with it.
    """
    python = interpreter()
    if python is None:
        raise NotInstalled("run make torch")
    with tempfile.TemporaryDirectory(prefix="sft-pictures-") as folder:
        images = [str(_as_seen(image, Path(folder) / f"{number}.png")) for number, (image, _) in enumerate(rows)]
        request = {
            "model": str(model),
            "rows": [[image, prompt] for image, (_, prompt) in zip(images, rows)],
            "batch_size": batch_size,
            "max_new_tokens": max_new_tokens,
            "device": device,
        }
        # -I: nothing of this project and of the environment's paths gets in; offline: the folder is all it has.
        done = subprocess.run(
            [str(python), "-I", str(SCRIPT)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            preexec_fn=die_with_parent,
        )
    if done.returncode == transformers_reader.NOT_INSTALLED:
        raise NotInstalled(f"{python} has no torch or transformers: run make torch")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][-TAIL:]
        raise IntegrityError(f"transformers cannot read with it: {reason}", where=str(model), remedy="train again")
    return Reading(**json.loads(done.stdout.splitlines()[-1]))


def _as_seen(image: Path, target: Path) -> Path:
    """A file of the picture as our own reader sees it, without loss: the image itself where nothing has to be done."""
    with Image.open(image) as picture:
        seen, done = as_seen(picture)
    if not done:
        return image
    seen.save(target, compress_level=1)
    return target
