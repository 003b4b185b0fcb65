"""Rows as the model takes them: token ids by the base model's own chat template, labels, patches and 3-D positions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IMAGE_MARK = "<image>"  # in a prompt of the messages format: here an image goes
IGNORED = -100  # the label of a token that is not learned
_PROBE = "\u2581probe"


class Unusable(Exception):
    """A row, or a whole base model, that cannot be trained on: why."""


@dataclass(frozen=True)
class Row:
    """``images`` are paths, in the order of their turns; ``turns`` are (images of the prompt, prompt, answer)."""

    images: tuple[str, ...]
    turns: tuple[tuple[int, str, str], ...]

    @classmethod
    def of(cls, line: bytes) -> Row:
        """A line of the messages format, which has been validated."""
        row = json.loads(line)
        texts = [message["content"] for message in row["messages"]]
        turns = tuple(
            (prompt.count(IMAGE_MARK), prompt.replace(IMAGE_MARK, ""), answer)
            for prompt, answer in zip(texts[::2], texts[1::2], strict=True)
        )
        return cls(tuple(row["images"]), turns)


@dataclass(frozen=True)
class Encoded:
    """One row. ``ids`` and ``labels``: (tokens); ``positions``: (3, tokens); ``patches``: (patches, channels, side,
    side); ``grid``: (images, 3), patches of each image over time, height and width.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor
    patches: torch.Tensor
    grid: torch.Tensor


class Encoder:
    """Encodes rows for one base model.

    The prompt is what the processor makes of the same messages when an answer is asked for, token by token; the answer
    is encoded by itself, as a reader's output is. So a tuned model is asked what it was trained on.
    """

    def __init__(self, base: Path) -> None:
        """
        Raises:
            Unusable: its chat template does not put an answer behind a prompt.
        """
        import transformers

        self.base = base
        self.processor: Any = transformers.AutoProcessor.from_pretrained(base)
        # Pillow scales the images, as our readers do; where torchvision is installed, transformers would take that.
        self.images: Any = transformers.AutoImageProcessor.from_pretrained(base, backend="pil")
        self.config: Any = transformers.AutoConfig.from_pretrained(base)
        self._as_parts = self._probed()

    def _probed(self) -> bool:
        """How the template wants an answer: as a list of parts (the Hub's), or as a text."""
        for parts in (True, False):
            try:
                (prompt, _), (answer, _) = self._pieces(Row(("",), ((1, "OCR:", _PROBE),)), parts)
            except Exception:
                continue
            if answer.startswith(_PROBE) and len(answer) < len(_PROBE) + 40 and prompt:
                return parts
        raise Unusable("the base model's chat template does not put an answer behind a prompt that asks for one")

    def _pieces(self, row: Row, parts: bool) -> list[tuple[str, bool]]:
        """(text, is it an answer?) in turns; an answer has what ends it."""
        messages: list[dict[str, Any]] = []
        pieces: list[tuple[str, bool]] = []
        before = ""
        for images, prompt, answer in row.turns:
            content: list[dict[str, str]] = [{"type": "image"}] * images
            messages.append({"role": "user", "content": [*content, {"type": "text", "text": prompt}]})
            asked = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            said = [{"type": "text", "text": answer}] if parts else answer
            messages.append({"role": "assistant", "content": said})
            answered = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
            if not asked.startswith(before) or not answered.startswith(asked):
                raise Unusable("the chat template writes earlier turns in another way than new ones")
            pieces += [(asked[len(before) :], False), (answered[len(asked) :], True)]
            before = answered
        return pieces

    def _tokens(self, row: Row, image_tokens: Sequence[int]) -> Iterator[tuple[list[int], bool]]:
        """(token ids, is it an answer?) of each piece; a placeholder becomes as many as its image has tokens."""
        tokenizer, left = self.processor.tokenizer, list(image_tokens)
        for number, (text, answer) in enumerate(self._pieces(row, self._as_parts)):
            # The first prompt as the processor encodes it; nothing is added within a conversation.
            ids = tokenizer(text, add_special_tokens=number == 0)["input_ids"]
            if not answer:
                mark = self.processor.image_token_id
                ids = [one for some in ids for one in [some] * (left.pop(0) if some == mark and left else 1)]
            yield ids, answer

    def asked(self, row: Row) -> list[int]:
        """The ids of a row without its last answer, as the processor makes them of the conversation and its images."""
        from PIL import Image

        left, messages = list(row.images), []
        for number, (images, prompt, answer) in enumerate(row.turns):
            pictures = [Image.open(left.pop(0)).convert("RGB") for _ in range(images)]
            shown: list[dict[str, Any]] = [{"type": "image", "image": picture} for picture in pictures]
            messages.append({"role": "user", "content": [*shown, {"type": "text", "text": prompt}]})
            if number < len(row.turns) - 1:
                said = [{"type": "text", "text": answer}] if self._as_parts else answer
                messages.append({"role": "assistant", "content": said})
        found = self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        ids: list[int] = found["input_ids"][0]
        return ids

    def length(self, row: Row) -> int:
        """Tokens of a row; of its images only the headers are read.

        Raises:
            OSError: an image cannot be read.
        """
        from PIL import Image

        counts = []
        for name in row.images:
            with Image.open(name) as image:
                patches = self.images.get_number_of_image_patches(image.height, image.width)
            counts.append(patches // self.images.merge_size**2)
        return sum(len(ids) for ids, _ in self._tokens(row, counts))

    def encode(self, row: Row) -> Encoded:
        """The row as tensors.

        Raises:
            OSError: an image cannot be read.
        """
        import torch
        from PIL import Image

        pictures = []
        for name in row.images:
            with Image.open(name) as image:
                pictures.append(image.convert("RGB"))
        seen = self.images(images=pictures, return_tensors="pt")
        grid = seen["image_grid_thw"]
        counts = (grid.prod(-1) // self.images.merge_size**2).tolist()
        pieces = list(self._tokens(row, counts))
        ids = torch.tensor([one for some, _ in pieces for one in some])
        labels = torch.tensor([one if answer else IGNORED for some, answer in pieces for one in some])
        return Encoded(ids, labels, self._positions(ids, grid), seen["pixel_values"], grid)

    def _positions(self, ids: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        """(3, tokens): time, row and column, by the model's own rule, which needs of a model its configuration only."""
        from types import SimpleNamespace

        from transformers.models.paddleocr_vl.modeling_paddleocr_vl import PaddleOCRVLModel as Model

        def of_image(*args: Any, **named: Any) -> Any:
            return Model.get_vision_position_ids(None, *args, **named)

        model = SimpleNamespace(config=self.config, get_vision_position_ids=of_image)
        kinds = (ids == self.config.image_token_id).int()
        positions, _ = Model.get_rope_index(model, ids[None], kinds[None], image_grid_thw=grid)
        found: torch.Tensor = positions[:, 0]
        return found
