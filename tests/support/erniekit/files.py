"""The files that ERNIEKit leaves: names as recorded, weights under the base's names, small files in its own words."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

NAMES = Path(__file__).parents[2] / "fixtures" / "erniekit_output_files.txt"
WEIGHTS = "model-00001-of-00001.safetensors"


def save(folder: Path, base: Path, step: int, *, checkpoint: bool) -> None:
    """Write a checkpoint, or what is left at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = _trained(base, step)
    contents: dict[str, Any] = {
        "config.json": _config(_read(base / "config.json")),
        "generation_config.json": {"_from_model_config": True, "max_length": 20},
        "preprocessor_config.json": _without(_read(base / "preprocessor_config.json"), "auto_map", "processor_class"),
        "tokenizer_config.json": _read(base / "tokenizer_config.json") | {"tokenizer_class": "Ernie4_5_Tokenizer"},
        "model.safetensors.index.json": {"metadata": {}, "weight_map": dict.fromkeys(weights, WEIGHTS)},
        "trainer_state.json": {"global_step": step},
    }
    part = "checkpoint-2/" if checkpoint else ""
    for name in NAMES.read_text().split():
        place, _, file = name.removeprefix("./").rpartition("/")
        if f"{place}/".removeprefix("/") != part:
            continue
        if file == WEIGHTS:
            save_file(weights, str(folder / file))
        elif file.endswith(".safetensors"):
            save_file({"moment": np.full(4, step, np.float32)}, str(folder / file))
        elif file.endswith(".json"):
            (folder / file).write_text(json.dumps(contents.get(file, {})))
        else:
            (folder / file).write_bytes(struct.pack("<q", step))


def _trained(base: Path, step: int) -> dict[str, Any]:
    """The base's weights, a little further."""
    files = sorted(base.glob("*.safetensors"))
    found = {name: value for file in files for name, value in load_file(str(file)).items()}
    return {name: value + value.dtype.type(step) for name, value in found.items()} or {
        "w": np.full(4, step, np.float32)
    }


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _without(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def _config(config: dict[str, Any]) -> dict[str, Any]:
    lost = ("pad_token_id", "bos_token_id", "eos_token_id", "use_cache", "max_sequence_length", "dtype")
    new = {"fuse_rms_norm": True, "use_rmsnorm": True, "paddleformers_version": "0.4.0", "torch_dtype": "bfloat16"}
    vision = {**config.get("vision_config", {}), "hidden_act": "gelu_new"}
    return {**_without(config, *lost), **new, "vision_config": vision}
