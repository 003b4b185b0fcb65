"""The model that is trained: loaded, parts of it frozen, adapters put in, or four bits a weight."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sft.torch_trainer import attention, kernel
from sft.torch_trainer.rows import Unusable

# Parts of the model → the modules of transformers' class that they are.
PARTS: Mapping[str, tuple[str, ...]] = {
    "text": ("model.language_model.", "lm_head."),
    "vision": ("model.visual.",),
    "projector": ("model.projector.",),
}
# Linear layers that an adapter is put at; PaddleFormers takes the same ones.
LAYERS: Mapping[str, str] = {
    "text": r"model\.language_model\..*\.(q|k|v|o|gate|up|down)_proj",
    "vision": r"model\.visual\..*\.((q|k|v|out)_proj|fc1|fc2)",
    "projector": r"model\.projector\.linear_[12]",
}


def load(settings: Mapping[str, Any], *, gpu: bool, checkpoint: str | None = None) -> Any:
    """The model as ``settings`` (the program's config file) ask for it.

    Args:
        checkpoint: the weights of a full model are taken from here. transformers' Trainer would look for them under
            the names of its own modules, find the Hub's, and go on with the base model's without a word (ran, 5.24).

    The weights that are trained are float32 whatever is computed in, or small steps would be rounded away; those that
    are not trained are kept in the type that is computed in.

    Raises:
        Unusable: weights are missing, or of other shapes.
    """
    import torch
    import transformers

    base = Path(settings["base_model"])
    config = transformers.AutoConfig.from_pretrained(base)
    # transformers takes the text model's default; the base's own file says whether both tables are one.
    tied = bool(json.loads((base / "config.json").read_text()).get("tie_word_embeddings", False))
    config.tie_word_embeddings = tied
    if getattr(config, "text_config", None) is not None:
        config.text_config.tie_word_embeddings = tied
    computed = {"bf16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[settings["precision"]]
    adapted = settings["lora_rank"] is not None
    options: dict[str, Any] = {"dtype": computed if adapted and gpu else torch.float32}
    if settings["four_bit"]:
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=computed,
            llm_int8_skip_modules=["lm_head", "visual", "projector"],
        )
    options["attn_implementation"] = _attention(settings["precision"], gpu=gpu)
    weights = base if adapted or checkpoint is None else Path(checkpoint)
    model, info = transformers.AutoModelForImageTextToText.from_pretrained(
        weights, config=config, output_loading_info=True, **options
    )
    if lacking := sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]])):
        raise Unusable(f"{weights} lacks weights of the model, such as {lacking[0]}")
    kernel.quicken(model, gpu=gpu, half=settings["precision"] != "float32")
    model.config.use_cache = False
    model.accepts_loss_kwargs = False  # the loss is ours (passes.loss)
    for part in PARTS.keys() - set(settings["trained_parts"]):
        for name, parameter in model.named_parameters():
            if name.startswith(PARTS[part]):
                parameter.requires_grad_(False)
    return _adapted(model, settings) if adapted else model


def _attention(precision: str, *, gpu: bool) -> str:
    from transformers.utils import is_flash_attn_2_available

    if gpu and precision != "float32" and is_flash_attn_2_available():
        return "flash_attention_2"
    return attention.register()


def _adapted(model: Any, settings: Mapping[str, Any]) -> Any:
    import peft

    if settings["four_bit"]:
        # Recomputation is the Trainer's; here norms become float32 and all weights are frozen.
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    layers = "|".join(f"(?:{LAYERS[part]})" for part in settings["trained_parts"])
    config = peft.LoraConfig(
        r=settings["lora_rank"],
        lora_alpha=settings["lora_alpha"],
        lora_dropout=settings["lora_dropout"],
        target_modules=layers,
        bias="none",
    )
    return peft.get_peft_model(model, config)


def facts(model: Any) -> dict[str, Any]:
    """What the model itself says of how it is trained, under the names of the config file."""
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    frozen = [
        part
        for part, begins in PARTS.items()
        if not any(p.requires_grad for name, p in inner.named_parameters() if name.startswith(begins))
    ]
    found: dict[str, Any] = {
        "attention": inner.config._attn_implementation,
        "four_bit": bool(getattr(inner, "is_loaded_in_4bit", False)),
        "parameters": sum(p.numel() for p in inner.parameters()),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "trained_parts": [part for part in PARTS if part not in frozen],
        "lora_rank": None,
    }
    if hasattr(model, "peft_config"):
        config = model.peft_config["default"]
        found |= {"lora_rank": config.r, "lora_alpha": config.lora_alpha, "lora_dropout": config.lora_dropout}
    return found
