"""An adapter in the layout of PaddleFormers, beside peft's own: this project merges and reads that one.

peft keeps A as (rank, in) and B as (out, rank) under the names of transformers' modules; PaddleFormers A as (in, rank)
and B as (rank, out) under those of the Hub's weights (``LoRAModel.from_pretrained`` in paddleformers/peft/lora).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WEIGHTS = "peft_model-00001-of-00001.safetensors"
INDEX = "peft_model.safetensors.index.json"
CONFIG = "lora_config.json"
_PREFIX = "base_model.model."


def write(model: Any, folder: Path) -> None:
    """Write the adapter of a peft model into ``folder``."""
    import peft
    from safetensors.torch import save_file

    state = peft.get_peft_model_state_dict(model)
    modules = {name.removeprefix(_PREFIX).rpartition(".lora_")[0] for name in state}
    hub = _hub_names(model.get_base_model(), modules)
    tensors = {}
    for name, value in state.items():
        module, _, which = name.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".lora_")
        tensors[f"{hub[module]}.lora_{which}"] = value.float().T.contiguous().cpu()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict.fromkeys(tensors, WEIGHTS)}
    (folder / INDEX).write_text(json.dumps(index, indent=2))
    config = model.peft_config["default"]
    described = {
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "scaling": config.lora_alpha / config.r,
        "target_modules": [f".*{name}$" for name in sorted(hub.values())],
        "merge_weights": False,
        "tensor_model_parallel_size": 1,
        "dtype": "float32",
    }
    (folder / CONFIG).write_text(json.dumps(described, indent=2))


def _hub_names(model: Any, modules: set[str]) -> dict[str, str]:
    """Module of transformers' class → the name of its weight on the Hub, without ``.weight``; by transformers' own rule
    for saving."""
    import torch
    from transformers.core_model_loading import revert_weight_conversion

    found = {}
    for module in sorted(modules):  # one by one: the rule gives names back in an order of its own
        (name,) = revert_weight_conversion(model, {f"{module}.weight": torch.empty(1)})
        found[module] = name.removesuffix(".weight")
    return found
