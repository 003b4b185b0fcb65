"""Is a saved model complete? The files that each way of serving reads, and weights like the base model's.

Who reads what: ``paddleocr doc_parser`` (PaddleX) inference.yml, config.json, preprocessor_config.json, the tokenizer
(tokenizer.model; without it, it fails to load) and the weights; vLLM and transformers config.json, tokenizer.json,
tokenizer_config.json, preprocessor_config.json, chat_template.jinja, generation_config.json, the weights under the
Hub's names, and, with trust_remote_code, the base model's .py files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sft import records
from sft.errors import IntegrityError
from sft.weights import BLOCK, encoded_header, header, not_finite, tensors

ALWAYS = ("config.json", "preprocessor_config.json", "chat_template.jinja", "inference.yml", "tokenizer_config.json")
BESIDE = (".safetensors", ".md", ".bin", ".pdparams", ".msgpack")  # of the base: not needed beside new weights
UNTRAINED = ("visual.vision_model.head.",)  # what PaddleFormers' model class leaves out
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def companions(base: Path) -> list[str]:
    """Files of the base model that a saved model needs beside its weights: all small ones in its folder."""
    found = []
    for path in sorted(base.iterdir()):
        weights = path.suffix in BESIDE or path.name.endswith(".index.json")
        if (
            path.is_file()
            and not weights
            and not path.name.startswith(".")
            and path.name not in (records.RECORD, "LICENSE")
        ):
            found.append(path.name)
    return found


def problems(model: Path, base: Path) -> list[str]:
    """What is missing or wrong in a saved model; an empty list for one that can be served."""
    found = [
        f"{name} is missing" for name in dict.fromkeys((*ALWAYS, *companions(base))) if not (model / name).is_file()
    ]
    if not any((model / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        found.append("no tokenizer")
    found += _settings(model, base)
    return found + _weights(model, base)


def complete(model: Path, base: Path) -> int:
    """Bring a trained model into the base's layout: one file of weights, with those that no trainer knows.

    PaddleFormers saves shards, and drops the vision model's pooling head when it loads the base; PaddleX asserts that
    each file has every weight, the head too. Returns the number of weights taken from the base. Weights that a trainer
    should have saved are not made up for: :func:`problems` names them.
    """
    ours = _places(model)
    missing = {n: p for n, p in _places(base).items() if n.startswith(UNTRAINED) and n not in ours}
    if missing or [path.name for path in model.glob("*.safetensors")] != [SINGLE]:
        temporary = model / ".weights.partial"
        _write(temporary, {**ours, **missing})
        for path in [*model.glob("*.safetensors"), model / INDEX]:
            path.unlink(missing_ok=True)
        temporary.rename(model / SINGLE)
    return len(missing)


Place = tuple[Path, int, dict[str, Any]]  # file, where the weight begins in it (bytes), its entry in the header


def _places(folder: Path) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for path in sorted(folder.glob("*.safetensors")):
        entries, begin = header(path)
        found |= {name: (path, begin + entry["data_offsets"][0], entry) for name, entry in entries.items()}
    return found


def _write(target: Path, places: dict[str, Place]) -> None:
    """One safetensors file of weights that lie in others; they are copied block by block."""
    sizes = {name: (entry["dtype"], entry["shape"], _size(entry)) for name, (_, _, entry) in places.items()}
    with target.open("wb") as out:
        out.write(encoded_header(sizes))
        for path, begin, entry in places.values():
            left = _size(entry)
            with path.open("rb") as file:
                file.seek(begin)
                while left:
                    block = file.read(min(BLOCK, left))
                    if not block:
                        raise IntegrityError("a file of weights is torn", where=str(path), remedy="run again")
                    out.write(block)
                    left -= len(block)


def _size(entry: dict[str, Any]) -> int:
    """Bytes of a weight, by its entry in the header."""
    start, end = entry["data_offsets"]
    return int(end - start)


def _settings(model: Path, base: Path) -> list[str]:
    """Do config.json and inference.yml name the base's kind of model?"""
    found = []
    ours, theirs = (records.read_json(folder / "config.json") or {} for folder in (model, base))
    for key in ("architectures", "model_type"):
        if ours.get(key) != theirs.get(key):
            found.append(f"config.json says {key} {ours.get(key)!r} instead of {theirs.get(key)!r}")
    try:
        names = [yaml.safe_load((f / "inference.yml").read_text())["Global"]["model_name"] for f in (model, base)]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        names = []
    if (base / "inference.yml").is_file() and (model / "inference.yml").is_file() and len(set(names)) != 1:
        found.append("inference.yml does not name the base's model_name")
    return found


def _weights(model: Path, base: Path) -> list[str]:
    """The base model's tensors, in its shapes, with finite numbers only."""
    found: list[str] = []
    ours, theirs = tensors(model), tensors(base)
    if missing := sorted(theirs.keys() - ours.keys()):
        found.append(f"{len(missing)} weights are missing, such as {missing[0]}")
    if strange := sorted(ours.keys() - theirs.keys()):
        found.append(f"{len(strange)} weights that the base does not have, such as {strange[0]}")
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name]["shape"] != theirs[name]["shape"]:
            found.append(f"{name} has the shape {ours[name]['shape']} instead of {theirs[name]['shape']}")
    broken = [name for path in sorted(model.glob("*.safetensors")) for name in not_finite(path)]
    if broken:
        found.append(f"{len(broken)} weights hold NaN or infinity, such as {broken[0]}")
    return found
