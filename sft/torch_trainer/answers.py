"""What the base's own answers cost where they are read, and what they cost on the trainer's way, before it trains.

The counterpart of sft/models/paddle_answers.py. The reader is transformers' own model class with the attention that it
takes by itself, asked by ``generate`` and by the processor's inputs; the trainer's way is that of a training: its
encoder, its pass, its model with its attention and adapters, and the Trainer's ``compute_loss``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sft.torch_trainer import modelling, passes, training
from sft.torch_trainer.rows import Encoder, Row

if TYPE_CHECKING:
    import torch

NEW = 48  # tokens of an answer at most


def costs(settings: Mapping[str, Any], encoder: Encoder, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each row of one turn: ``prompt``, the base's ``answer``, and mean nats a token: ``read`` and ``trained``.

    Args:
        settings: the program's config file.
    """
    answers, read = _read(settings, encoder, rows)
    said = [
        replace(row, turns=((*row.turns[0][:2], answer),))  # images and prompt as they were
        for row, answer in zip(rows, answers, strict=True)
    ]
    trained = _trained(settings, encoder, said)
    return [
        {"prompt": row.turns[0][1], "answer": answer, "read": cost, "trained": trained[number]}
        for number, (row, answer, cost) in enumerate(zip(rows, answers, read, strict=True))
        if number in trained  # not where the trainer leaves it out: it is too long
    ]


def _read(settings: Mapping[str, Any], encoder: Encoder, rows: Sequence[Row]) -> tuple[list[str], list[float]]:
    import torch
    import transformers

    gpu = not settings["use_cpu"]
    dtypes = {"bf16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    kind = dtypes[settings["precision"]] if gpu else torch.float32
    model = transformers.AutoModelForImageTextToText.from_pretrained(encoder.base, dtype=kind).eval()
    model.to("cuda" if gpu else "cpu")
    answers, found = [], []
    with torch.inference_mode():
        for row in rows:
            inputs = _asked(encoder, row).to(model.device, kind)  # of its tensors only those of floats change type
            before = inputs["input_ids"].shape[1]
            made = model.generate(**inputs, do_sample=False, max_new_tokens=NEW)[0, before:]
            answers.append(encoder.processor.tokenizer.decode(made, skip_special_tokens=True))
            said = _ids(encoder, answers[-1], made)
            logits = model(**_behind(inputs, said)).logits[0, before - 1 : -1]
            found.append(float(torch.nn.functional.cross_entropy(logits.float(), said)))
    return answers, found


def _asked(encoder: Encoder, row: Row) -> Any:
    from PIL import Image

    processor = encoder.processor
    content = [{"type": "image"}, {"type": "text", "text": row.turns[0][1]}]
    message = [{"role": "user", "content": content}]
    text = processor.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    with Image.open(row.images[0]) as image:
        return processor(images=[image.convert("RGB")], text=[text], return_tensors="pt")


def _ids(encoder: Encoder, answer: str, like: torch.Tensor) -> torch.Tensor:
    tokenizer = encoder.processor.tokenizer
    ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return like.new_tensor(ids)


def _behind(inputs: Mapping[str, Any], said: torch.Tensor) -> dict[str, Any]:
    """The reader's inputs with an answer behind them, which is text and is heeded."""
    import torch

    more = {"input_ids": said, "attention_mask": torch.ones_like(said), "mm_token_type_ids": torch.zeros_like(said)}
    longer = {key: torch.cat([inputs[key], more[key][None]], dim=1) for key in more if key in inputs}
    return {**inputs, **longer}


def _trained(settings: Mapping[str, Any], encoder: Encoder, rows: Sequence[Row]) -> dict[int, float]:
    import torch

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "answers.jsonl"
        path.write_text("".join(json.dumps(_messages(row)) + "\n" for row in rows), encoding="utf-8")
        arguments = training.arguments({**settings, "output_dir": name})
        held = passes.TrainingSet(path, encoder, settings["max_seq_len"], lambda text: None)
        held.plan(len(rows), rows=1, seed=arguments.seed)
        model = modelling.load(settings, gpu=not settings["use_cpu"])
        trainer = training.trainer(model, arguments, held, settings)
        # As the Trainer has it done before its first step: computed in what the training computes in.
        ready = trainer.accelerator.prepare_model(trainer.model.train(), evaluation_mode=True)
        found: dict[int, float] = {}
        for number, (row,) in enumerate(held.passes):
            inputs = trainer._prepare_inputs(passes.together([held[number]]))
            with torch.no_grad(), trainer.compute_loss_context_manager():
                found[row] = float(trainer.compute_loss(ready, inputs))
    return found


def _messages(row: Row) -> dict[str, Any]:
    ((_, prompt, answer),) = row.turns
    turns = [{"role": "user", "content": f"<image>{prompt}"}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "images": list(row.images)}
