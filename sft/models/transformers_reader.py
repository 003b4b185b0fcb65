"""A reader that nobody here wrote: transformers loads a saved model and reads images, greedily, in batches.

Run as a program by the Python of another environment (CPU or CUDA torch and transformers ≥ 5, where PaddleOCR-VL is
native): a request as JSON on stdin, the answer as JSON on the last line of stdout. It imports nothing of this project,
so that no line of ours can make a model load that others cannot load. How long an answer goes on is the model folder's
own business: its generation_config.json names the ids that end one, as it does for every server.

Request: ``{"model": folder, "rows": [[image path, prompt], …], "batch_size", "max_new_tokens", "device": cpu or gpu}``.
Answer: ``{"texts": […], "versions": {"torch", "transformers"}, "device", "missing": [weights], "unexpected": […]}``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

NOT_INSTALLED = 3  # exit code


def main() -> None:
    """Read the request, load the model, read the rows."""
    request = json.load(sys.stdin)
    sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]  # see sft/environments/light.py
    try:
        import torch
        import transformers
    except ImportError:
        sys.exit(NOT_INSTALLED)
    transformers.logging.set_verbosity_error()
    gpu = request["device"] == "gpu" and torch.cuda.is_available()
    # As the other reader on the same kind of device: bfloat16 where the card has it, float32 on the CPU.
    dtype = torch.float32 if not gpu else torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    processor = transformers.AutoProcessor.from_pretrained(request["model"])
    # Pillow scales the images, as in training; where torchvision is installed, transformers would take that.
    processor.image_processor = transformers.AutoImageProcessor.from_pretrained(request["model"], backend="pil")
    model, info = transformers.AutoModelForImageTextToText.from_pretrained(
        request["model"], dtype=dtype, output_loading_info=True
    )
    model.eval()
    if gpu:
        model.to("cuda")
    processor.tokenizer.padding_side = "left"
    texts: dict[int, str] = {}
    with torch.inference_mode():
        for numbers, inputs in _batches(processor, request["rows"], request["batch_size"]):
            given = inputs.to(model.device, dtype)  # of its tensors only those of floats change their type
            tokens = model.generate(**given, do_sample=False, max_new_tokens=request["max_new_tokens"])
            answers = tokens[:, inputs["input_ids"].shape[1] :]
            texts |= zip(numbers, _said(processor.tokenizer, answers.tolist()))
    answer = {
        "texts": [texts[number] for number in range(len(request["rows"]))],
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "device": str(model.device),
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
    }
    print(json.dumps(answer))


def _said(tokenizer: Any, answers: Sequence[Sequence[int]]) -> list[str]:
    """The answers' texts: of the special tokens those of places are said, which spotting is made of."""
    added = tokenizer.added_tokens_decoder.items()
    unsaid = {number for number, token in added if token.special and not token.content.startswith("<|LOC_")}
    kept = [[token for token in answer if token not in unsaid] for answer in answers]
    return [tokenizer.decode(answer, skip_special_tokens=False) for answer in kept]


def _batches(processor: Any, rows: Sequence[Sequence[str]], size: int) -> Iterator[tuple[Sequence[int], Any]]:
    """(row numbers, the model's inputs): images of like size together, for little padding."""
    from PIL import Image

    sizes = []
    for path, _ in rows:
        with Image.open(path) as image:
            sizes.append(image.width * image.height)
    order = sorted(range(len(rows)), key=lambda number: sizes[number])
    for start in range(0, len(order), size):
        numbers = order[start : start + size]
        images, texts = [], []
        for path, prompt in (rows[number] for number in numbers):
            with Image.open(path) as image:
                images.append(image.convert("RGB"))
            content = [{"type": "image"}, {"type": "text", "text": prompt}]
            message = [{"role": "user", "content": content}]
            texts.append(processor.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
        yield numbers, processor(images=images, text=texts, padding=True, return_tensors="pt")


if __name__ == "__main__":
    main()
