"""The full-size model on a GPU: training packed and padded, in full and as LoRA, reading by batch size, memory.

``python benchmarks/gpu.py [--tiny] [--json FILE]`` with an interpreter that has torch, transformers and peft, from any
folder; it needs nothing else of this project's environment. Weights and rows are random: time and memory do not depend
on what is read. ``--tiny`` is the same at a size for a CPU, so that the script itself is tested.

Model FLOPs: 6 × (text weights without the embedding's table) × tokens + 6 × vision weights × patches (Kaplan et al.,
Scaling Laws for Neural Language Models, 2020, 2.1; scores of attention and recomputation are not counted), LoRA's 4
instead of 6, as its frozen weights have no gradient. Utilisation is against the card's dense bfloat16 peak.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.meter import Meter, peak
from sft.torch_trainer import attention, kernel, modelling, passes
from sft.torch_trainer.rows import IGNORED, Encoded, Encoder

if TYPE_CHECKING:
    import torch

LONGEST = {"full": 16_384, "tiny": 512}  # tokens of a pass
NEW = {"full": 64, "tiny": 4}  # tokens that are read in an answer
BATCHES = {"full": (1, 8, 32), "tiny": (1, 2)}
STEPS = {"full": 3, "tiny": 1}
Named = dict[str, Any]
# As the engine trains on this device; with attention row by row; as the documentation of transformers has it.
PACKED, BY_ROW, PADDED = "packed", "packed, row by row", "padded"


def configuration(kind: str) -> Any:
    """The class's defaults are the published sizes, but for the two tables, which are not tied; or a small model."""
    import transformers

    if kind == "full":
        config = transformers.PaddleOCRVLConfig()
    else:
        text = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
        text |= {"num_key_value_heads": 2, "head_dim": 32, "vocab_size": 1024}
        vision = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        marks = {
            "image_token_id": 1001,
            "video_token_id": 1002,
            "vision_start_token_id": 1003,
            "vision_end_token_id": 1004,
        }
        config = transformers.PaddleOCRVLConfig(text_config=text, vision_config=vision, **marks)
        config.text_config.rope_parameters = {**config.text_config.rope_parameters, "mrope_section": [4, 6, 6]}
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    return config


def row(config: Any, dice: random.Random, answer: int, height: int, width: int) -> Encoded:
    """A row of one image of ``height`` × ``width`` patches, a prompt of six tokens and an answer."""
    import torch

    side = config.vision_config.patch_size
    image = [config.image_token_id] * (height * width // 4)
    words = [dice.randrange(3, 1000) for _ in range(6 + answer)]
    ids = torch.tensor([2, *image, *words])
    labels = torch.full_like(ids, IGNORED)
    labels[-answer:] = ids[-answer:]
    grid = torch.tensor([[1, height, width]])
    positions = Encoder._positions(SimpleNamespace(config=config), ids, grid)  # type: ignore[arg-type]
    return Encoded(ids, labels, positions, torch.randn(height * width, 3, side, side), grid)


def rows(config: Any, budget: int) -> list[Encoded]:
    """Rows of mixed length that fill a pass: lines, paragraphs, and a page here and there."""
    import torch

    torch.manual_seed(0)
    found: list[Encoded] = []
    dice, filled = random.Random(1), 0
    while True:
        answer = dice.choices((dice.randrange(3, 40), dice.randrange(80, 300), 600), (34, 5, 1))[0]
        made = row(config, dice, min(answer, budget // 4), 4, 2 * dice.randrange(2, 40 if budget > 5000 else 8))
        if filled + len(made.ids) > budget:
            return found
        found.append(made)
        filled += len(made.ids)


def padded(batch: Sequence[Encoded], config: Any) -> Named:
    """The same rows as the documentation of transformers puts them together."""
    import torch

    longest = max(len(one.ids) for one in batch)

    def full(values: list[Any], value: int) -> torch.Tensor:
        return torch.stack([torch.nn.functional.pad(v, (0, longest - len(v)), value=value) for v in values])

    ids, mask = full([one.ids for one in batch], 0), full([torch.ones_like(one.ids) for one in batch], 0)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": full([one.labels for one in batch], IGNORED),
        "mm_token_type_ids": (ids == config.image_token_id).int() * mask.int(),
        "pixel_values": torch.cat([one.patches for one in batch]),
        "image_grid_thw": torch.cat([one.grid for one in batch]),
    }


def model_of(config: Any, device: str, *, lora: bool, kind: str) -> Any:
    """The model as the engine trains it: float32 weights, recomputation; LoRA on the text model's linear layers."""
    import torch
    import transformers

    torch.manual_seed(0)
    made = transformers.PaddleOCRVLForConditionalGeneration._from_config(config, attn_implementation=kind)
    made = made.to(device, torch.bfloat16 if lora and device != "cpu" else torch.float32).train()
    made.config.use_cache = False
    made.gradient_checkpointing_enable({"use_reentrant": False})
    if lora:
        import peft

        settings = peft.LoraConfig(r=8, lora_alpha=16, target_modules=modelling.LAYERS["text"], bias="none")
        made.enable_input_require_grads()
        made = peft.get_peft_model(made, settings)
    return made


def training(config: Any, device: str, size: str, *, lora: bool, how: str) -> Named:
    """Time and memory of optimiser steps over one pass's worth of rows."""
    import torch

    held = rows(config, LONGEST[size])
    tokens, patches = sum(len(one.ids) for one in held), sum(len(one.patches) for one in held)
    learned = sum(int((one.labels[1:] != IGNORED).sum()) for one in held)
    pack = how != PADDED
    model = model_of(config, device, lora=lora, kind=attention.register() if pack else "sdpa")
    if how == PACKED:
        kernel.quicken(model.get_base_model() if lora else model, gpu=device != "cpu", half=device != "cpu")
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    if pack:
        inputs = [passes.together([held])]
    else:
        inputs = [padded(held[start : start + 8], config) for start in range(0, len(held), 8)]
    inputs = [{key: value.to(device) for key, value in one.items()} for one in inputs]
    with Meter(device) as told:
        for turn in range(STEPS[size] + 1):
            if turn == 1:
                told.begin()
            losses = [_step(model, one, learned, device, pack) for one in inputs]
            if turn == 0:
                first = float(sum(losses))
            optimiser.step()
            optimiser.zero_grad()
    seconds = told.seconds / STEPS[size]
    inner = model.get_base_model() if lora else model
    text, vision = _weights(inner)
    flops = (4 if lora else 6) * (text * tokens + vision * patches)
    return {
        "mode": f"{'LoRA' if lora else 'full'}, {how}",
        "loss": first,
        "rows": len(held),
        "tokens": tokens,
        "steps_per_second": 1 / seconds,
        "tokens_per_second": tokens / seconds,
        "flops_utilisation": flops / seconds / peak(device) if peak(device) else None,
        "peak_gb": told.peak,
        "reserved_gb": told.reserved,
        "fixed_gb": _fixed(model),
        "estimated_gb": _estimated(tokens, lora=lora),
    }


def _step(model: Any, inputs: Named, learned: int, device: str, pack: bool) -> torch.Tensor:
    import torch

    named = dict(inputs)
    with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
        if pack:
            labels = named.pop("labels")
            loss = passes.loss(model(**named), labels, learned)
        else:
            loss = model(**named, num_items_in_batch=torch.tensor(learned, device=device)).loss
    loss.backward()
    return loss.detach()


def _weights(model: Any) -> tuple[int, int]:
    """(text weights without the table of embeddings, vision weights)."""
    vision = text = 0
    for name, parameter in model.named_parameters():
        if "lora_" in name or "embed_tokens" in name or "packing_position_embedding" in name:
            continue
        if "visual" in name:
            vision += parameter.numel()
        else:
            text += parameter.numel()
    return text, vision


def _fixed(model: Any) -> float:
    """GB of weights, gradients and AdamW's two moments, whatever is trained."""
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    return float(held + sum(3 * p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)) / 1e9


def _estimated(tokens: int, *, lora: bool) -> float:
    """GB that this project's estimate says of a full-size model (:mod:`sft.training.memory`)."""
    from sft.training import memory

    if lora:
        return memory.LORA_FIXED + memory.LORA_RATE * tokens
    return memory.FULL_FIXED + memory.FULL_RATE * tokens


def reading(config: Any, device: str, size: str) -> Iterator[Named]:
    """Greedy reading of equal rows, by batch size; every answer has the same number of tokens."""
    import torch

    model = model_of(config, device, lora=False, kind="sdpa").eval()
    model.gradient_checkpointing_disable()
    model.config.use_cache = True
    model = model.to(torch.bfloat16 if device != "cpu" else torch.float32)
    new = NEW[size]
    for count in BATCHES[size]:
        dice = random.Random(2)
        asked = padded([row(config, dice, 1, 8, 40 if size == "full" else 8) for _ in range(count)], config)
        asked.pop("labels")
        asked = {key: value.to(device) for key, value in asked.items()}
        asked["pixel_values"] = asked["pixel_values"].to(model.dtype)
        with Meter(device) as told, torch.no_grad():
            for turn in range(2):
                if turn:
                    told.begin()
                model.generate(**asked, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)
        yield {"mode": f"reading, batch {count}", "tokens_per_second": count * new / told.seconds, "peak_gb": told.peak}


def _measures(config: Any, device: str, size: str) -> list[Callable[[], Iterable[Named]]]:
    """All that is measured, each by itself: one that fails stops no other."""
    kinds = [(lora, how) for lora in (False, True) for how in (PACKED, BY_ROW, PADDED)]
    found = [partial(_one, config, device, size, lora=lora, how=how) for lora, how in kinds]
    return [*found, partial(reading, config, device, size)]


def _one(config: Any, device: str, size: str, *, lora: bool, how: str) -> Iterator[Named]:
    yield training(config, device, size, lora=lora, how=how)


def main() -> None:
    """Measure, print a line each, write JSON."""
    import torch
    import transformers

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a small model, on whatever is there")
    parser.add_argument("--json", type=Path, help="where the figures go")
    given = parser.parse_args()
    size, device = "tiny" if given.tiny else "full", "cuda" if torch.cuda.is_available() else "cpu"
    config = configuration(size)
    card = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    told: Named = {"card": card, "torch": torch.__version__, "transformers": transformers.__version__, "figures": []}
    print(f"{card}, torch {torch.__version__}, transformers {transformers.__version__}", flush=True)
    for measure in _measures(config, device, size):
        try:
            for figure in measure():
                told["figures"].append(figure)
                shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in figure.items()}
                print(json.dumps(shown), flush=True)
        except Exception as error:  # the others are measured all the same
            told["figures"].append({"error": f"{type(error).__name__}: {error}"[:500]})
            print(told["figures"][-1]["error"], flush=True)
        if given.json:
            given.json.write_text(json.dumps(told, indent=1))
    if any("error" in figure for figure in told["figures"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
