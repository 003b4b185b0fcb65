"""A model folder: the base's small files and trained weights. Made here, and checked: can each way of serving load it?

Who reads what: ``paddleocr doc_parser`` (PaddleX) inference.yml, config.json, preprocessor_config.json, the tokenizer
(tokenizer.model; without it, it fails to load) and the weights; vLLM and transformers config.json, tokenizer.json,
tokenizer_config.json, preprocessor_config.json, chat_template.jinja, generation_config.json, the weights under the
Hub's names, and, with trust_remote_code, the base model's .py files.

Trainers write small files of their own beside the weights, and other programs do not understand them: ERNIEKit's
config.json names an activation that PaddleFormers does not know, PaddleFormers' tokenizer_config.json a class that
transformers 4 does not have, both lose the ids at which an answer ends (run; tests/fixtures/rewrites has them). No
training changes what they say, so that a model has the base's, byte for byte (upstream's advice: PaddlePaddle/ERNIE
issue 1349).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from sft.errors import IntegrityError
from sft.models.weights import BLOCK, encoded_header, header, not_finite, tensors
from sft.store import records

ALWAYS = ("config.json", "preprocessor_config.json", "chat_template.jinja", "inference.yml", "tokenizer_config.json")
BESIDE = (".safetensors", ".md", ".bin", ".pdparams", ".msgpack")  # of the base: not needed beside new weights
# What the trainers' model classes leave out, as no forward pass reads it: the pooling head both, the table of positions
# in packed images transformers alone.
UNTRAINED = ("visual.vision_model.head.", "visual.vision_model.embeddings.packing_position_embedding.")
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
WEIGHTS = "model*.safetensors"  # beside them checkpoints have optimizer-*.safetensors and master_weights-*.safetensors
OURS = (SINGLE, "README.md")  # what a model folder has that is not the base's: weights, and a model card


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


def assemble(weights: Iterable[Path], base: Path, model: Path, *, move: bool) -> int:
    """Make the folder ``model`` of trained weights and the base's small files, with the base's names and layout.

    Args:
        weights: safetensors files under the Hub's names.
        base: the base model's folder.
        move: move the weights; else they are linked to, and copied where they are not one file.
    Returns:
        The number of weights that no trainer knows, taken from the base (see :func:`complete`).
    """
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir(parents=True)
    for path in weights:
        if move:
            path.rename(model / path.name)
        else:
            (model / path.name).symlink_to(path.resolve())
    for name in companions(base):
        shutil.copyfile(base / name, model / name)
    return complete(model, base)


def problems(model: Path, base: Path) -> list[str]:
    """What is missing or wrong in a saved model; an empty list for one that can be served."""
    needed = dict.fromkeys((*ALWAYS, *companions(base)))
    found = [f"{name} is missing" for name in needed if not (model / name).is_file()]
    if not any((model / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        found.append("no tokenizer")
    for name in companions(base):
        if (model / name).is_file():
            found += differences(model / name, base / name)
    known = (*needed, *OURS, records.RECORD, "LICENSE")
    strange = [path.name for path in sorted(model.iterdir()) if not path.name.startswith(".")]
    found += [f"{name} is no file of the base model's" for name in strange if name not in known]
    return found + _weights(model, base)


def differences(ours: Path, theirs: Path) -> list[str]:
    """Where a small file means something else than the base's: ``name: key is ours, the base has theirs``.

    JSON and YAML are compared value by value, whatever their order and layout; other files byte by byte.
    """
    readers: dict[str, Callable[[str], Any]] = {".json": json.loads, ".yml": yaml.safe_load, ".yaml": yaml.safe_load}
    name, read = theirs.name, readers.get(theirs.suffix)
    if ours.read_bytes() == theirs.read_bytes():
        return []
    if read is None:
        return [f"{name} is not the base's"]
    try:
        mine, base = (read(path.read_text(encoding="utf-8")) for path in (ours, theirs))
    except (ValueError, yaml.YAMLError) as error:
        return [f"{name} cannot be read: {type(error).__name__}"]
    return [f"{name}: {key} {_said(a, b)}" for key, a, b in _compared("", mine, base)]


_Missing = object()


def _compared(key: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """(key, our value, theirs) of each difference; keys within keys are joined by dots."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() | theirs.keys()):
            below = f"{key}.{name}" if key else name
            yield from _compared(below, ours.get(name, _Missing), theirs.get(name, _Missing))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs)):
            yield from _compared(f"{key}.{number}", *pair)
    elif ours != theirs or isinstance(ours, bool) != isinstance(theirs, bool):
        yield key or "the whole", ours, theirs


def _said(ours: Any, theirs: Any) -> str:
    if ours is _Missing:
        return f"is missing, the base has {_shown(theirs)}"
    return f"is {_shown(ours)}, the base has {'no such key' if theirs is _Missing else _shown(theirs)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}…"


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
