"""A tiny PaddleOCR-VL: the architecture of PaddleOCR-VL-0.9B with 0.9 M trained parameters, quick enough for a CPU.

Its weights ship beside this file (float16, without the packing position table, which the forward pass of
PaddleFormers never reads but expects to find). ``scripts/pretrain_tiny_base.py`` made them from printed digits.
The layout of config, tokenizer and preprocessor follows PaddlePaddle/PaddleOCR-VL on the Hugging Face Hub.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import string
from pathlib import Path
from typing import Any

from sft.errors import IntegrityError
from sft.store import records

WEIGHTS_SHA256 = "e4ff12c8020969054b5d024414b42858224b8cee34c7fd3b2d53ffd85227140f"
WEIGHTS = Path(__file__).with_name("tiny_base.safetensors")
TOKENIZER = Path(__file__).with_name("tiny_tokenizer.model")  # made by scripts/make_tiny_tokenizer.py
PACKING_TABLE = "visual.vision_model.embeddings.packing_position_embedding.weight"
PACKING_ROWS = 32768
MIN_PIXELS, MAX_PIXELS = 28 * 28, 28 * 28 * 24  # of an image after the resize: 1 to 24 tokens
VISION_WIDTH = 96  # channels
TEXT_WIDTH = 128  # channels
# The pooling head of the vision model: PaddleFormers neither reads nor saves it, PaddleOCR's parser loads no model
# without it. Zeros, as nothing computes with it.
HEAD = "visual.vision_model.head."
HEAD_SHAPES: dict[str, tuple[int, ...]] = {
    "probe": (1, 1, VISION_WIDTH),
    "attention.in_proj_weight": (3 * VISION_WIDTH, VISION_WIDTH),
    "attention.in_proj_bias": (3 * VISION_WIDTH,),
    "attention.out_proj.weight": (VISION_WIDTH, VISION_WIDTH),
    "attention.out_proj.bias": (VISION_WIDTH,),
    "layernorm.weight": (VISION_WIDTH,),
    "layernorm.bias": (VISION_WIDTH,),
    "mlp.fc1.weight": (2 * VISION_WIDTH, VISION_WIDTH),
    "mlp.fc1.bias": (2 * VISION_WIDTH,),
    "mlp.fc2.weight": (VISION_WIDTH, 2 * VISION_WIDTH),
    "mlp.fc2.bias": (VISION_WIDTH,),
}

SPECIAL_TOKENS = (
    "<unk>",
    "<s>",
    "</s>",
    "<|begin_of_sentence|>",
    "<|end_of_sentence|>",
    "<|IMAGE_PLACEHOLDER|>",
    "<|IMAGE_START|>",
    "<|IMAGE_END|>",
    "<|video_pad|>",
)
# The real model's template, so that the tuned folder serves with the same prompts; </s> ends an answer there and in
# PaddleFormers' training template.
CHAT_TEMPLATE = (
    "{{ '<|begin_of_sentence|>' }}{% for message in messages %}{% if message.role == 'user' %}User: "
    "{% for part in message.content %}{% if part.type == 'image' %}"
    "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>{% else %}{{ part.text }}{% endif %}{% endfor %}{{ '\\n' }}"
    "{% else %}Assistant: {{ message.content }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)


def vocabulary() -> dict[str, int]:
    """Token → id: the special tokens, then one token for each printable ASCII character."""
    characters = [c for c in string.printable if c not in "\r\x0b\x0c"]
    return {token: index for index, token in enumerate([*SPECIAL_TOKENS, *characters])}


GENERATION = {"eos_token_id": vocabulary()["</s>"], "pad_token_id": 0, "use_cache": True}


def model_config() -> dict[str, Any]:
    """``config.json`` of the tiny model."""
    ids = vocabulary()
    vision = {
        "model_type": "paddleocr_vl",
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 2 * VISION_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_channels": 3,
        "image_size": 112,
        "patch_size": 14,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "attention_dropout": 0.0,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
    }
    return {
        "architectures": ["PaddleOCRVLForConditionalGeneration"],
        "model_type": "paddleocr_vl",
        "vocab_size": len(ids),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 3 * TEXT_WIDTH,
        "max_position_embeddings": 2048,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        # The columns of an image are the last section. With the usual theta of 10000 its frequencies are so low that
        # 16 pairs cannot tell neighbouring columns apart, and lines of several digits are not learned (measured).
        "rope_theta": 30,
        "rope_scaling": {"mrope_section": [2, 4, 10], "rope_type": "default", "type": "default"},
        "use_bias": False,
        "use_cache": False,
        "tie_word_embeddings": False,
        "dtype": "float32",
        # PaddleFormers' fused RMSNorm has no CPU kernel, and the choice is read from here, not from a train argument.
        "fuse_rms_norm": False,
        "image_token_id": ids["<|IMAGE_PLACEHOLDER|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|IMAGE_START|>"],
        "bos_token_id": ids["<s>"],
        "eos_token_id": ids["</s>"],
        "pad_token_id": ids["<unk>"],
        "vision_config": vision,
    }


def tokenizer_files() -> dict[str, Any]:
    """``tokenizer.json`` and its companions: a BPE without merges, which splits text into characters."""
    ids = vocabulary()
    added = [
        {
            "id": ids[token],
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in SPECIAL_TOKENS
    ]
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": ids,
            "merges": [],
        },
    }
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "processor_class": "PaddleOCRVLProcessor",
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        **names,
        "cls_token": "<|begin_of_sentence|>",
        "sep_token": "<|end_of_sentence|>",
        "image_token": "<|IMAGE_PLACEHOLDER|>",  # transformers' processor does not load without it
        "additional_special_tokens": list(SPECIAL_TOKENS[3:]),
    }
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": settings, "special_tokens_map.json": names}


def preprocessor_config() -> dict[str, Any]:
    """``preprocessor_config.json``: the real model's, with bounds that fit lines of 28 px."""
    return {
        "image_processor_type": "PaddleOCRVLImageProcessor",
        "processor_class": "PaddleOCRVLProcessor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        # White becomes 0 and ink -2: with the usual mean of 0.5 the paper drowns the ink, and a model this small
        # learns to see ten times later (measured).
        "image_mean": [1.0, 1.0, 1.0],
        "image_std": [0.5, 0.5, 0.5],
        "merge_size": 2,
        "min_pixels": MIN_PIXELS,
        "max_pixels": MAX_PIXELS,
        "patch_size": 14,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "temporal_patch_size": 1,
    }


def write_model_files(folder: Path) -> None:
    """Write everything but the weights into ``folder``."""
    files: dict[str, Any] = {
        "config.json": model_config(),
        "preprocessor_config.json": preprocessor_config(),
        "generation_config.json": GENERATION,
        **tokenizer_files(),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    shutil.copyfile(TOKENIZER, folder / "tokenizer.model")
    (folder / "inference.yml").write_text("Global:\n  model_name: PaddleOCR-VL-0.9B\n", encoding="utf-8")


def weights_hash() -> str:
    """sha256 of the weights file that ships with the project."""
    return hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()


def version() -> str:
    """What the model is, small files and weights together: names its folder, so that another version is another."""
    files = [model_config(), preprocessor_config(), GENERATION, tokenizer_files(), CHAT_TEMPLATE]
    return records.fingerprint([weights_hash(), records.hash_file(TOKENIZER), files])


def materialise(folder: Path) -> None:
    """Write the tiny base model into ``folder``: its files, and its weights widened to float32.

    The packing position table is filled with zeros: PaddleFormers loads it, but interpolates the ordinary
    position table instead of reading it. So is the vision model's pooling head, which nothing computes with.

    Raises:
        IntegrityError: the weights are damaged.
    """
    import numpy as np
    from safetensors.numpy import load_file, save_file

    if weights_hash() != WEIGHTS_SHA256:
        raise IntegrityError(
            "the tiny base model's weights are not the ones that ship",
            where=str(WEIGHTS),
            value=weights_hash()[:16],
            remedy=f"git checkout {WEIGHTS.name}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_model_files(folder)
    weights = {name: value.astype(np.float32) for name, value in load_file(str(WEIGHTS)).items()}
    weights[PACKING_TABLE] = np.zeros((PACKING_ROWS, VISION_WIDTH), np.float32)
    weights |= {f"{HEAD}{name}": np.zeros(shape, np.float32) for name, shape in HEAD_SHAPES.items()}
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "np"})
