"""The backend ``transformers``: it reads in batches, greedily, what :class:`sft.models.recognition.Recogniser` reads.

Run by the Python of the environment that ``make torch`` makes: ``python -P -m sft.models.transformers_answers`` (see
:mod:`sft.models.reader_program`). Prompts, pictures, batches and ends are those of Paddle's reader, from the same
lines of this project; the processor's scaling, the model and the decoding are transformers' (5.24.0). Its continuous
batching (``generate_batch``) takes token ids alone, no images, so that batches are made as for Paddle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sft.dataset.pictures import open_as_seen
from sft.dataset.tokens import Limits
from sft.environments.light import starting, without_bitsandbytes
from sft.models.questions import (
    Question,
    answered,
    batches,
    ends_of,
    image_tokens,
    shown,
    unsaid,
    weighed_together,
    weight,
    written,
)
from sft.models.reader_program import Asked, Batch, Loaded, Shown, Weights, serve


class Model:
    """A loaded model.

    Args:
        folder: a model folder, as the Hub or a training has it.
        device: "cpu" or "gpu".
    Raises:
        ValueError: it lacks weights, which transformers would fill with random numbers.
    """

    @starting()
    def __init__(self, folder: Path, device: str) -> None:
        without_bitsandbytes()
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        self._torch, self._gpu = torch, device == "gpu" and torch.cuda.is_available()
        # As Paddle's reader on the same kind of device: bfloat16 where the card has it, float32 on the CPU.
        half = torch.bfloat16 if self._gpu and torch.cuda.is_bf16_supported(False) else torch.float16
        self._dtype = half if self._gpu else torch.float32
        self._processor: Any = transformers.AutoProcessor.from_pretrained(folder)
        # Pillow scales the images, as in training; where torchvision is installed, transformers would take that.
        self._processor.image_processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        kind = transformers.AutoModelForImageTextToText
        self._model, info = kind.from_pretrained(folder, dtype=self._dtype, output_loading_info=True)
        if info["missing_keys"]:
            raise ValueError(f"transformers finds no weight {min(info['missing_keys'])}")
        self._model.eval().to("cuda" if self._gpu else "cpu")
        tokenizer = self._processor.tokenizer
        tokenizer.padding_side = "left"
        self._ends, self._silent = ends_of(tokenizer, folder), unsaid(tokenizer)
        self._limits = Limits.of_model(folder, max_seq_len=0)
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        where = torch.cuda.get_device_name() if self._gpu else "cpu"
        self.loaded = Loaded(versions, where, self.read, self.weigh)

    def read(self, asked: Asked) -> Iterator[Batch]:
        """Batch by batch (see :func:`sft.models.questions.batches`)."""
        rows, limits = asked.rows, self._limits
        for batch in batches(rows, asked.batch_size, lambda path: image_tokens(limits, path), asked.lengths):
            inputs = self._inputs([rows[number] for number in batch])
            with self._torch.inference_mode():
                tokens = self._model.generate(
                    **inputs,
                    do_sample=False,
                    max_new_tokens=asked.max_new_tokens,
                    eos_token_id=self._ends,
                    pad_token_id=self._processor.tokenizer.pad_token_id,
                    use_cache=True,
                )
            said = tokens[:, inputs["input_ids"].shape[1] :].tolist()
            tokenizer = self._processor.tokenizer
            yield [(number, answered(tokenizer, ids, self._ends, self._silent)) for number, ids in zip(batch, said)]

    def weigh(self, asked: Shown) -> Iterator[Weights]:
        """Batch by batch, as they are read."""
        limits, tokenizer = self._limits, self._processor.tokenizer
        said = [(*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id) for answer in asked.said]
        lengths = list(map(len, said))
        together = batches(asked.rows, asked.batch_size, lambda path: image_tokens(limits, path), lengths)
        for batch in weighed_together(together, lengths):
            tokens = [said[number] for number in batch]
            inputs = self._inputs([asked.rows[number] for number in batch])
            before = inputs["input_ids"].shape[1]
            self._put_behind(inputs, tokens)
            with self._torch.inference_mode():
                keep = inputs["input_ids"].shape[1] - before + 1
                logits = self._model(**inputs, use_cache=False, logits_to_keep=keep).logits[:, :-1].float()
                chosen = logits.gather(2, inputs["input_ids"][:, before:, None])[..., 0]
                found = [one.tolist() for one in (chosen, logits.amax(-1), logits.logsumexp(-1))]
            weights = [weight(*(one[row][: len(ids)] for one in found)) for row, ids in enumerate(tokens)]
            yield list(zip(batch, weights))

    def _put_behind(self, inputs: Any, answers: Sequence[Sequence[int]]) -> None:
        """Put the answers' tokens behind the prompts; shorter ones are filled, and the filling is not looked at."""
        longest, pad = max(map(len, answers)), self._processor.tokenizer.pad_token_id
        behind = {
            "input_ids": [[*ids, *[pad] * (longest - len(ids))] for ids in answers],
            "attention_mask": [[1] * len(ids) + [0] * (longest - len(ids)) for ids in answers],
            "mm_token_type_ids": [[0] * longest for _ in answers],
        }
        for name, more in behind.items():
            added = self._torch.tensor(more, dtype=inputs[name].dtype, device=inputs[name].device)
            inputs[name] = self._torch.cat([inputs[name], added], dim=1)

    def _inputs(self, questions: list[Question]) -> Any:
        images = [open_as_seen(path) for turns in questions for path in shown(turns)]
        texts = [written(self._processor, turns) for turns in questions]
        inputs = self._processor(images=images or None, text=texts, padding=True, return_tensors="pt")
        if len(images) > 1 and len(questions) == 1:
            # PaddleFormers 1.2.0 places a row's first image over rows and columns and all that follows one by one, in
            # training as in reading: further images are places of text here, too.
            kinds = inputs["mm_token_type_ids"]
            first = int(kinds[0].argmax())
            length = int(inputs["image_grid_thw"][0].prod()) // self._model.config.vision_config.spatial_merge_size**2
            kinds[0, first + length :] = 0
        return inputs.to(self._model.device, self._dtype)  # of its tensors only those of floats change their type


if __name__ == "__main__":
    serve(lambda folder, device: Model(folder, device).loaded)
