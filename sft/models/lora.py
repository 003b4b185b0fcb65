"""Merging a LoRA adapter into its base model, in plain numpy.

W' = W + scaling · (A·B)ᵀ, with A (in × r) and B (r × out) as Paddle keeps them and W (out × in) as the Hub does (Hu et
al., 2021, "LoRA"). ``paddleformers-cli export`` 1.2.0 comes to the same weights, which a test compares, as long as
safetensors is not 0.8.0: that version writes garbage for arrays that are not contiguous (safetensors #825), and
PaddleFormers' merged matrices are such. We merge ourselves because it is less: no second process of the trainer's (20 s
for importing Paddle), and the base's small files and names of files stay, which that command rewrites.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sft.errors import IntegrityError
from sft.models.weights import encoded_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

CONFIG = "lora_config.json"


def merge(base: Path, adapter: Path, target: Path) -> int:
    """Write the base model with the adapter merged into ``target``; returns the number of changed matrices.

    Args:
        base: a model folder in the Hub's layout.
        adapter: a folder with lora_config.json and peft_model*.safetensors.
    Raises:
        IntegrityError: an adapter has no matrix of its shape in the base model.
    """
    from safetensors import deserialize

    scaling = float(json.loads((adapter / CONFIG).read_text())["scaling"])
    deltas = _deltas(adapter, scaling)
    target.mkdir(parents=True, exist_ok=True)
    changed = 0
    for path in sorted(base.iterdir()):
        if path.suffix != ".safetensors":
            if path.is_file() and path.name != "record.json":
                shutil.copyfile(path, target / path.name)
            continue
        # Sorted: deserialize gives them in another order each time, and the file's hash is the model's identity.
        tensors: dict[str, dict[str, Any]] = dict(sorted(deserialize(path.read_bytes())))  # type: ignore[no-untyped-call]
        for name in tensors.keys() & deltas.keys():
            _add(tensors[name], deltas.pop(name), name)
            changed += 1
        _write(target / path.name, tensors)
    if deltas or not changed:
        names = ", ".join(sorted(deltas)[:3]) or "none at all"
        raise IntegrityError("the adapter does not fit the base model", where=str(adapter), value=names)
    return changed


def differences(base: Path, adapter: Path, merged: Path) -> list[str]:
    """Where a merged model is not base plus adapter; an empty list for a right one. Unadapted weights must be equal."""
    import numpy as np
    from safetensors import deserialize

    deltas = _deltas(adapter, float(json.loads((adapter / CONFIG).read_text())["scaling"]))
    found: list[str] = []
    for path in sorted(base.glob("*.safetensors")):
        ours: dict[str, dict[str, Any]] = dict(deserialize(_whole(merged, path.name)))  # type: ignore[no-untyped-call]
        for name, tensor in deserialize(path.read_bytes()):  # type: ignore[no-untyped-call]
            if name not in ours:
                found.append(f"{name} is missing in the merged model")
            elif name not in deltas:
                if bytes(tensor["data"]) != bytes(ours[name]["data"]):
                    found.append(f"{name} has no adapter, yet it differs from the base")
            else:
                wanted, step = floats(tensor) + deltas[name], 2.0 ** -(7 if tensor["dtype"] == "BF16" else 10)
                if not np.allclose(floats(ours[name]), wanted, rtol=step, atol=1e-6):
                    found.append(f"{name} is not base plus adapter")
    return found


def _whole(folder: Path, name: str) -> bytes:
    path = folder / name
    return path.read_bytes() if path.is_file() else b"\x02\0\0\0\0\0\0\0{}"


def _deltas(adapter: Path, scaling: float) -> dict[str, Floats]:
    """Weight's name → scaling · (A·B)ᵀ, of shape out × in."""
    import numpy as np
    from safetensors import deserialize

    found: dict[str, Floats] = {}
    for path in sorted(adapter.glob("peft_model*.safetensors")):
        tensors = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        found.update({name: floats(tensor) for name, tensor in tensors})
    stems = [name.removesuffix(".lora_A") for name in found if name.endswith(".lora_A")]
    # In float32 the product's last bits depend on how many threads compute it, and a model's identity on its bits.
    product = {s: found[f"{s}.lora_A"].astype(np.float64) @ found[f"{s}.lora_B"].astype(np.float64) for s in stems}
    return {f"{s}.weight": (scaling * product[s]).astype(np.float32).T for s in stems}


def _add(tensor: dict[str, Any], delta: Floats, name: str) -> None:
    if list(delta.shape) != list(tensor["shape"]):
        shapes = f"{list(delta.shape)} on {list(tensor['shape'])}"
        raise IntegrityError("the adapter does not fit the base model", where=name, value=shapes)
    tensor["data"] = as_bytes(floats(tensor) + delta, tensor["dtype"])


def _write(path: Path, tensors: dict[str, dict[str, Any]]) -> None:
    """A safetensors file of tensors in memory."""
    sizes = {name: (t["dtype"], t["shape"], len(t["data"])) for name, t in tensors.items()}
    with path.open("wb") as file:
        file.write(encoded_header(sizes))
        for tensor in tensors.values():
            file.write(tensor["data"])


# safetensors' names of dtypes and numpy's.
_NAMES = {"F32": "float32", "F16": "float16"}


def floats(tensor: dict[str, Any]) -> Floats:
    """A tensor of a safetensors file (dtype, shape, data) as numbers.

    Raises:
        IntegrityError: it is of a type without a numpy form here.
    """
    import numpy as np

    kind, data = tensor["dtype"], bytes(tensor["data"])
    if kind == "BF16":  # the upper half of a float32
        wide = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
        values: Floats = wide.view(np.float32)
    elif kind in _NAMES:
        values = np.frombuffer(data, np.dtype(_NAMES[kind])).astype(np.float32)
    else:
        raise IntegrityError("a weight of a type that is not merged", value=kind)
    return values.reshape(tensor["shape"])


def as_bytes(values: Floats, kind: str) -> bytes:
    """Numbers as the data of a tensor of type F32, F16 or BF16, rounded to the nearest."""
    import numpy as np

    if kind != "BF16":
        return np.ascontiguousarray(values, np.dtype(_NAMES[kind])).tobytes()
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)  # to nearest, ties to even
    return (rounded >> 16).astype(np.uint16).tobytes()
