"""A PaddleOCR-VL model that reads images: greedy decoding in batches. The only module that imports paddle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from sft.dataset.tokens import Limits
from sft.engines.cpu_launcher import stub_triton
from sft.errors import IntegrityError
from sft.pictures import open_as_seen

END = "<|end_of_sentence|>"  # what the training template puts behind an answer


class Recogniser:
    """A loaded model.

    Args:
        folder: a model folder, as the Hub or a training has it.
        device: "cpu" or "gpu".
        adapter: a folder with a LoRA adapter that is put on the model, unmerged.
    Raises:
        IntegrityError: the folder cannot be loaded.
    """

    def __init__(self, folder: Path, device: str, *, adapter: Path | None = None) -> None:
        if device == "cpu":
            stub_triton()
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
        ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END), *_generation_ends(folder)}
        self._ends = sorted(end for end in ends if isinstance(end, int) and end != tokenizer.unk_token_id)
        self._pad = tokenizer.pad_token_id
        self._limits = Limits.of_model(folder, max_seq_len=0)

    def prompt(self, text: str) -> str:
        """The model's chat template around one image and ``text``."""
        content = [{"type": "image"}, {"type": "text", "text": text}]
        messages = [{"role": "user", "content": content}]
        rendered: str = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return rendered

    def read(
        self, rows: Sequence[tuple[Path, str]], *, batch_size: int, max_new_tokens: int, lengths: Sequence[int] = ()
    ) -> Iterator[tuple[int, str]]:
        """(row number, recognised text), batch by batch.

        Images that become equally many tokens are decoded together, and among them rows of like length: a batch ends
        with its longest answer. What is read does not depend on it.

        Args:
            rows: (image, prompt) pairs.
            max_new_tokens: longest answer (tokens).
            lengths: how long the answers may be (in any unit), where it is known.
        """

        def alike(row: int) -> tuple[int, str, int]:
            return self._tokens(rows[row][0]), rows[row][1], lengths[row] if lengths else 0

        order = sorted(range(len(rows)), key=alike)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            yield from zip(batch, self._decode([rows[i] for i in batch], max_new_tokens))

    def _decode(self, rows: Sequence[tuple[Path, str]], max_new_tokens: int) -> list[str]:
        images = [open_as_seen(path) for path, _ in rows]
        texts = [self.prompt(text) for _, text in rows]
        inputs: Any = self._processor(images=images, text=texts, padding=True, return_tensors="pd")
        with self._paddle.no_grad():
            tokens, _ = self._model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                decode_strategy="greedy_search",
                eos_token_id=self._ends,  # without it the model runs on past the end
                pad_token_id=self._pad,
                use_cache=True,
            )
        return [self._text(row) for row in tokens.numpy().tolist()]

    def _tokens(self, path: Path) -> int:
        """How many tokens the image becomes."""
        with Image.open(path) as image:
            try:
                return self._limits.image_tokens(image.width, image.height)
            except ValueError:  # too long for its width: the processor says so
                return image.width * image.height

    def _text(self, tokens: list[int]) -> str:
        end = next((i for i, token in enumerate(tokens) if token in self._ends), len(tokens))
        text: str = self._processor.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return text


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


def _generation_ends(folder: Path) -> list[int]:
    try:
        end = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    except (OSError, ValueError, KeyError):
        return []
    return end if isinstance(end, list) else [end]
