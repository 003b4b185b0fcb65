"""A tiny model of the newer kind: the tiny base with the template and the tokens of places of PaddleOCR-VL-1.5.

Sources: UPSTREAM's table (template ``Assistant:`` with a line end, tokens ``<|LOC_0|>`` to ``<|LOC_1000|>``); that its
tokens of places are special tokens follows from PaddleX 3.7, which decodes with ``skip_special_tokens=False`` for
spotting alone (paddlex/inference/pipelines/paddleocr_vl/pipeline.py). The Hub's own files were not at hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from sft.smoke import tiny

PLACES = [f"<|LOC_{number}|>" for number in range(1001)]
GROWN = ("model.embed_tokens.weight", "lm_head.weight")


def materialise(folder: Path) -> None:
    """Write the model into ``folder``."""
    tiny.materialise(folder)
    first = len(tiny.vocabulary())
    _change(folder / "config.json", vocab_size=first + len(PLACES))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    like = tokenizer["added_tokens"][0]
    for number, token in enumerate(PLACES, first):
        tokenizer["added_tokens"].append({**like, "id": number, "content": token})
        tokenizer["model"]["vocab"][token] = number
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    special = json.loads((folder / "tokenizer_config.json").read_text())["additional_special_tokens"]
    _change(folder / "tokenizer_config.json", additional_special_tokens=[*special, *PLACES])
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template.replace("Assistant: ", "Assistant:{{ '\\n' }}"))
    (path,) = folder.glob("model*.safetensors")
    weights = load_file(path)
    rng = np.random.default_rng(0)
    for name in GROWN:
        more = rng.normal(0, 0.02, (len(PLACES), weights[name].shape[1])).astype(weights[name].dtype)
        weights[name] = np.concatenate([weights[name], more])
    save_file(weights, path, {"format": "pt"})


def _change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
