"""Trained weights in the types that the base model has them in: what is trained is float32, or small steps are lost."""

from __future__ import annotations

from pathlib import Path

from sft.models.lora import as_bytes, floats
from sft.models.weights import encoded_header, header, tensors

FILE = "model.safetensors"
BITS = {"F32": 32, "BF16": 16, "F16": 16}


def cast(trained: Path, base: Path, target: Path) -> int:
    """Write the weights of the folder ``trained`` into ``target``, one file; returns how many changed their type.

    Values are rounded to the nearest, ties to even. A weight that the base does not have, or whose type holds no plain
    numbers, keeps its own.
    """
    wanted = {name: entry["dtype"] for name, entry in tensors(base).items() if entry["dtype"] in BITS}
    places, sizes, changed = [], {}, 0
    for path in sorted(trained.glob("model*.safetensors")):
        entries, begin = header(path)
        for name, entry in entries.items():
            kind = wanted.get(name, entry["dtype"]) if entry["dtype"] in BITS else entry["dtype"]
            start, end = entry["data_offsets"]
            changed += kind != entry["dtype"]
            size = (end - start) * BITS[kind] // BITS[entry["dtype"]] if kind != entry["dtype"] else end - start
            sizes[name] = (kind, entry["shape"], size)
            places.append((path, begin + start, end - start, entry, kind))
    target.mkdir(parents=True, exist_ok=True)
    with (target / FILE).open("wb") as out:
        out.write(encoded_header(sizes))
        for path, at, size, entry, kind in places:
            with path.open("rb") as file:
                file.seek(at)
                data = file.read(size)
            tensor = {"dtype": entry["dtype"], "shape": entry["shape"], "data": data}
            out.write(data if kind == entry["dtype"] else as_bytes(floats(tensor), kind))
    return changed
