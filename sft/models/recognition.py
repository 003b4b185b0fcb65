"""A PaddleOCR-VL model that reads images: greedy decoding in batches. The only module that imports paddle."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sft.dataset.pictures import open_as_seen
from sft.dataset.tokens import Limits
from sft.environments.cpu_launcher import stub_triton
from sft.environments.light import starting
from sft.environments.whole_patches import as_products
from sft.errors import IntegrityError
from sft.models.questions import (
    END,
    Answer,
    Question,
    Turn,
    Weight,
    answered,
    batches,
    ends_of,
    image_tokens,
    question,
    shown,
    unsaid,
    weighed_together,
    weight,
    written,
)

__all__ = ["END", "Answer", "Question", "Recogniser", "Turn", "question", "unsaid", "written"]


class Recogniser:
    """A loaded model.

    Args:
        folder: a model folder, as the Hub or a training has it.
        device: "cpu" or "gpu".
        adapter: a folder with a LoRA adapter that is put on the model, unmerged.
    Raises:
        IntegrityError: the folder cannot be loaded.
    """

    @starting()
    def __init__(self, folder: Path, device: str, *, adapter: Path | None = None) -> None:
        if device == "cpu":
            stub_triton()
            as_products()
        import paddle
        from paddleformers.transformers import AutoConfig, AutoModelForConditionalGeneration, AutoProcessor

        self._paddle = paddle
        paddle.set_device(device)
        try:
            config = AutoConfig.from_pretrained(str(folder))
            dtype, vision = ("float32", "eager") if device == "cpu" else _of_card(paddle)
            config._attn_implementation = "eager"  # flashmask pays no heed to the mask of a batch with padding
            config.vision_config._attn_implementation = vision
            self._model = AutoModelForConditionalGeneration.from_pretrained(
                str(folder),
                config=config,
                convert_from_hf=True,
                load_checkpoint_format="unified_checkpoint",
                dtype=dtype,
            )
            _keep_keys_and_values(self._model)
            if adapter is not None:
                self._model = _with_adapter(self._model, adapter)
            self._processor = AutoProcessor.from_pretrained(str(folder))
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            remedy = "train again, or restore the folder"
            raise IntegrityError(f"the model does not load: {error}", where=str(folder), remedy=remedy) from error
        self._model.eval()
        tokenizer = self._processor.tokenizer
        # Padding to the left keeps the distances to the answer, so that a batch decodes like its rows one by one.
        tokenizer.padding_side = "left"
        self._ends = ends_of(tokenizer, folder)
        self._pad = tokenizer.pad_token_id
        self._limits = Limits.of_model(folder, max_seq_len=0)
        self._unsaid = unsaid(tokenizer)

    def prompt(self, turns: Question) -> str:
        """The turns as the trainers' template writes them (see :func:`written`)."""
        return written(self._processor, turns)

    def read(
        self,
        rows: Sequence[tuple[Path, str] | Question],
        *,
        batch_size: int,
        max_new_tokens: int,
        lengths: Sequence[int] = (),
    ) -> Iterator[tuple[int, str]]:
        """(row number, recognised text), batch by batch; see :meth:`answers`."""
        found = self.answers(rows, batch_size=batch_size, max_new_tokens=max_new_tokens, lengths=lengths)
        yield from ((number, answer.text) for number, answer in found)

    def answers(
        self,
        rows: Sequence[tuple[Path, str] | Question],
        *,
        batch_size: int,
        max_new_tokens: int,
        lengths: Sequence[int] = (),
    ) -> Iterator[tuple[int, Answer]]:
        """(row number, answer), batch by batch.

        Images that become equally many tokens are decoded together, and among them rows of like length: a batch ends
        with its longest answer. What is read does not depend on it. A row that has not exactly one image is read by
        itself: PaddleFormers 1.2.0 takes the n-th image's positions for the n-th row of a batch, and of a row the first
        image's, in training (where it places row by row) as here.

        Args:
            rows: (image, prompt) pairs, or the turns of rows with more than that.
            max_new_tokens: longest answer (tokens).
            lengths: how long the answers may be (in any unit), where it is known.
        """
        questions = [question(row) for row in rows]
        for batch in batches(questions, batch_size, lambda path: image_tokens(self._limits, path), lengths):
            yield from zip(batch, self._decode([questions[i] for i in batch], max_new_tokens))

    def close(self) -> None:
        """Give back the memory that the model took, of a GPU too (not seen on one yet): another reader needs it."""
        self._model = None
        gc.collect()
        if self._paddle.device.get_device().startswith("gpu"):
            self._paddle.device.cuda.empty_cache()

    def inputs(self, questions: Sequence[Question]) -> Any:
        """What the model is given for questions that are read together."""
        images = [open_as_seen(path) for turns in questions for path in shown(turns)]
        texts = [self.prompt(turns) for turns in questions]
        return self._processor(images=images or None, text=texts, padding=True, return_tensors="pd")

    def tokens(self, answer: str) -> tuple[int, ...]:
        """The tokens of an answer and its end, as trainers learn them."""
        tokenizer = self._processor.tokenizer
        return (*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id)

    def cost(self, asked: Question, said: Sequence[int]) -> float:
        """Mean nats a token that the model gives to an answer's tokens (see :meth:`tokens`)."""
        return self._weights([asked], [said])[0].cost

    def weigh(
        self, rows: Sequence[tuple[Path, str] | Question], said: Sequence[str], *, batch_size: int
    ) -> Iterator[tuple[int, Weight]]:
        """(row number, what the model thinks of that answer), batch by batch; see :meth:`answers` for the batches."""
        questions, tokens = [question(row) for row in rows], [self.tokens(answer) for answer in said]
        lengths = list(map(len, tokens))
        together = batches(questions, batch_size, lambda path: image_tokens(self._limits, path), lengths)
        for batch in weighed_together(together, lengths):
            yield from zip(batch, self._weights([questions[i] for i in batch], [tokens[i] for i in batch]))

    def _weights(self, asked: Sequence[Question], said: Sequence[Sequence[int]]) -> list[Weight]:
        paddle, inputs = self._paddle, dict(self.inputs(asked))
        before, longest = inputs["input_ids"].shape[1], max(map(len, said))
        for name, fill in (("input_ids", self._pad), ("attention_mask", 0)):  # shorter answers are filled behind
            more = [[*(ids if name == "input_ids" else [1] * len(ids)), *[fill] * (longest - len(ids))] for ids in said]
            inputs[name] = paddle.concat([inputs[name], paddle.to_tensor(more, dtype=inputs[name].dtype)], axis=1)
        with paddle.no_grad():
            logits = self._model(**inputs, use_cache=False, return_dict=True).logits[:, before - 1 : -1]
            logits = logits.astype("float32")
            chosen = paddle.take_along_axis(logits, inputs["input_ids"][:, before:, None], axis=2)[..., 0]
            found = [one.numpy().tolist() for one in (chosen, logits.max(axis=-1), logits.logsumexp(axis=-1))]
        return [weight(*(one[row][: len(ids)] for one in found)) for row, ids in enumerate(said)]

    def _decode(self, questions: Sequence[Question], max_new_tokens: int) -> list[Answer]:
        inputs = self.inputs(questions)
        with self._paddle.no_grad():
            tokens, _ = self._model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                decode_strategy="greedy_search",
                eos_token_id=self._ends,  # without it the model runs on past the end
                pad_token_id=self._pad,
                use_cache=True,
            )
        return [self._answer(row) for row in tokens.numpy().tolist()]

    def _answer(self, tokens: list[int]) -> Answer:
        return answered(
            self._processor.tokenizer, tokens, self._ends, self._unsaid, spaces_between_special_tokens=False
        )


def _of_card(paddle: Any) -> tuple[str, str]:
    """(precision, the vision encoder's attention): cards before Ampere have no bfloat16 and no kernel of flashmask."""
    ampere = paddle.device.cuda.get_device_capability()[0] >= 8
    return ("bfloat16", "flashmask") if ampere else ("float16", "eager")


def _keep_keys_and_values(model: Any) -> None:
    """Let each step of the decoding go on from the last one.

    PaddleFormers 1.2.0 hands the keys and values on only for outputs of a class that PaddleOCR-VL's is not derived
    from, so that every token costs the whole image and prompt anew (five times the time on lines of seven digits). And
    it keeps the distances of positions in a shape that its next step cannot use.
    """
    plain = model.update_model_kwargs_for_generation

    def update(outputs: Any, kwargs: dict[str, Any], **rest: Any) -> dict[str, Any]:
        updated: dict[str, Any] = plain(outputs, kwargs, **rest)
        updated["past_key_values"] = outputs.past_key_values
        deltas = model.rope_deltas_var.get()
        model.rope_deltas_var.set(deltas.reshape([-1, 1]))
        return updated

    model.update_model_kwargs_for_generation = update


def _with_adapter(model: Any, adapter: Path) -> Any:
    from paddleformers.peft import LoRAModel

    form = "unified_checkpoint"
    return LoRAModel.from_pretrained(model=model, lora_path=str(adapter), load_checkpoint_format=form)
