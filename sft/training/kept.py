"""What was seen of rows before a training, kept: trials of a sweep and each night's training would look at the same.

``outputs/parity/KEY.json`` is ``{"said": what agreed, "at": Unix time}``. The key is of all that a look depends on:
this project's code, the packages of the environment that looks, the card, the settings but those of how long and how
fast is trained, the model's small files and the sizes of its weights, the rows and the content of their images.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sft.engines.base import TrainSpec
from sft.store import appended, records
from sft.store.code import code_hash

PLACE = "parity"  # on the outputs volume
# Of a training's settings: what decides how long and how fast is trained, and nothing of how a row is seen.
BESIDE = frozenset(
    {
        *("max_steps", "epochs", "warmup_steps", "learning_rate", "min_learning_rate", "lr_scheduler", "weight_decay"),
        *("gradient_accumulation_steps", "devices", "save_steps", "save_total_limit", "logging_steps"),
        *("stall_minutes", "dropped_rows"),
    }
)


def key(engine: str, spec: TrainSpec, program: str, model: Path, rows: Path, card: str) -> str:
    """What is looked at, as sha256 (hex); empty where it cannot be told: no packages are found, or an image is gone.

    Args:
        program: the interpreter of the environment that looks.
        model: the folder of the model that is trained on.
        rows: the sampled rows, as the engine gets them.
        card: what the call is billed as.
    """
    packages = _packages(program)
    if not packages:
        return ""
    settings = spec.model_dump(mode="json", exclude=set(BESIDE))
    seen = {"engine": engine, "card": card, "code": code_hash(), "packages": packages, "settings": settings}
    try:
        return records.fingerprint(seen | {"model": _model(model), "rows": _rows(rows)})
    except OSError:  # the look itself, or the trainer, says what to do
        return ""


def read(folder: Path, name: str) -> str:
    """What an earlier look of that key saw, and when; an empty text where there was none."""
    look = records.read_json(folder / f"{name}.json") if name else None
    if not isinstance(look, Mapping) or not isinstance(look.get("said"), str):
        return ""
    return f"{look['said']} (looked at before an earlier training, {_day(look.get('at'))})"


def write(folder: Path, name: str, said: str) -> None:
    """Keep what was seen; nothing without a name."""
    if name:
        records.write_json(folder / f"{name}.json", {"said": said, "at": round(time.time())})


def _day(at: Any) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at)) if isinstance(at, int) else "on an unknown day"


def _packages(program: str) -> list[str]:
    found = Path(program).parent.parent.glob("lib/python3.*/site-packages/*.dist-info")
    return sorted(path.name for path in found)


def _model(folder: Path) -> dict[str, str | int]:
    """Without its record, which says when it was fetched: the same model is the same wherever it came to."""
    small = [path for path in folder.iterdir() if path.suffix in (".json", ".jinja") and path.name != records.RECORD]
    sizes: dict[str, str | int] = {path.name: path.stat().st_size for path in folder.glob("*.safetensors")}
    return sizes | {path.name: records.hash_file(path) for path in small}


def _rows(path: Path) -> list[Any]:
    rows = appended.entries(path.read_bytes())
    return [{**row, "images": [records.hash_file(Path(image)) for image in row["images"]]} for row in rows]
