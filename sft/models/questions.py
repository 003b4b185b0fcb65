"""What a reader is asked and what it answers, for every backend: the prompt's text, which rows go together, what ends
an answer. No model is needed for any of it, and each backend's own process takes it from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from sft.dataset.tokens import Limits
from sft.families import BEGIN
from sft.notation.spotting import PLACE

WEIGHED = 2048  # answer tokens that are weighed together, at most: with the vocabulary of 103,424, 0.8 GB of logits
END = "<|end_of_sentence|>"  # the training template's, behind an answer


class Turn(NamedTuple):
    """What is shown and asked, and what was answered; nothing in the last turn, which the model answers."""

    images: tuple[Path, ...]
    prompt: str
    answer: str = ""


class Answer(NamedTuple):
    """What a model said; ``cut``: it had said no end when it reached the longest answer allowed."""

    text: str
    cut: bool


class Weight(NamedTuple):
    """What a model thinks of an answer that it is shown.

    Attributes:
        cost: mean of −ln p over the answer's tokens and its end (nats a token), each given those before it.
        odds: how much likelier the model holds another token, where that is most: the greatest ln p(likeliest) −
            ln p(token) of them (nats); 0: word for word what the model would say.
    """

    cost: float
    odds: float


def weight(said: Sequence[float], likeliest: Sequence[float], total: Sequence[float]) -> Weight:
    """The weight of an answer of n tokens.

    Args:
        said, likeliest: at each of its places the logit of its token, and the greatest of all tokens.
        total: at each place ln Σ exp(logit) over all tokens.
    """
    costs = [every - one for every, one in zip(total, said, strict=True)]
    odds = [best - one for best, one in zip(likeliest, said, strict=True)]
    return Weight(sum(costs) / len(costs), max(odds))


def weighed_together(batches: Iterable[list[int]], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Parts of the batches that are small enough to look at all of the vocabulary at each place of the answers.

    Args:
        lengths: tokens of each row's answer.
    """
    for batch in batches:
        part: list[int] = []
        for row in batch:
            if part and (len(part) + 1) * max(lengths[one] for one in (*part, row)) > WEIGHED:
                yield part
                part = []
            part.append(row)
        yield part


Question = tuple[Turn, ...]


def question(row: tuple[Path, str] | Question) -> Question:
    """The turns of a row that may be one image and its prompt."""
    first = row[0]
    return (Turn((first,), str(row[1])),) if isinstance(first, Path) else tuple(t for t in row if isinstance(t, Turn))


def shown(turns: Question) -> list[Path]:
    """All images of a row, in their order."""
    return [path for turn in turns for path in turn.images]


def written(processor: Any, turns: Question) -> str:
    """The turns as the trainers' template writes them (each training compares, see :mod:`sft.training.parity`): each as
    the model's chat template has it, the images before the prompt; the row begins once, and earlier answers stand
    behind their turns.
    """
    text = ""
    for number, turn in enumerate(turns):
        content = [*({"type": "image"} for _ in turn.images), {"type": "text", "text": turn.prompt}]
        messages = [{"role": "user", "content": content}]
        one: str = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        text += one.removeprefix(BEGIN) if number else one
        text += turn.answer + END if number < len(turns) - 1 else ""
    return text


def batches(
    rows: Sequence[Question], batch_size: int, tokens: Callable[[Path], int], lengths: Sequence[int] = ()
) -> Iterator[list[int]]:
    """The numbers of the rows that are read together: images that become equally many tokens, and among them rows of
    like length, because a batch ends with its longest answer. A row that has not exactly one image is a batch by itself
    (see :meth:`sft.models.recognition.Recogniser.answers`).

    Args:
        tokens: how many an image becomes.
        lengths: how long the answers may be (in any unit), where it is known.
    """
    images = [shown(turns) for turns in rows]

    def alike(row: int) -> tuple[int, str, int]:
        return sum(map(tokens, images[row])), rows[row][-1].prompt, lengths[row] if lengths else 0

    order = sorted(range(len(rows)), key=alike)
    plain = [row for row in order if len(images[row]) == 1]
    yield from (plain[start : start + batch_size] for start in range(0, len(plain), batch_size))
    yield from ([row] for row in order if len(images[row]) != 1)


def image_tokens(limits: Limits, path: Path) -> int:
    """How many tokens the image becomes; of its file only the header is read."""
    with Image.open(path) as image:
        try:
            return limits.image_tokens(image.width, image.height)
        except ValueError:  # too long for its width: the processor says so
            return image.width * image.height


def ends_of(tokenizer: Any, folder: Path) -> list[int]:
    """The ids that end an answer: the tokenizer's, the training template's, those of generation_config.json."""
    ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END), *_generation_ends(folder)}
    return sorted(end for end in ends if isinstance(end, int) and end != tokenizer.unk_token_id)


def unsaid(tokenizer: Any) -> frozenset[int]:
    """The special tokens that are no part of an answer: all but those of places, which spotting is made of."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(number for number, token in added if token.special and not token.content.startswith(PLACE))


def answered(
    tokenizer: Any, tokens: Sequence[int], ends: Collection[int], silent: Collection[int], **words: bool
) -> Answer:
    """The answer that a model's tokens are.

    Args:
        ends: see :func:`ends_of`.
        silent: see :func:`unsaid`.
        words: what this tokenizer's ``decode`` needs besides.
    """
    end = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    said = [token for token in tokens[:end] if token not in silent]
    text: str = tokenizer.decode(said, skip_special_tokens=False, **words)
    return Answer(text, cut=end == len(tokens))


def _generation_ends(folder: Path) -> list[int]:
    try:
        end = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    except (OSError, ValueError, KeyError):
        return []
    return end if isinstance(end, list) else [end]
