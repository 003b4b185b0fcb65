"""A model's own answers as rows to train on: what a base reads today, so that a training does not unlearn it.

Such rows are replay without labels (pseudo-rehearsal: Robins, Catastrophic Forgetting, Rehearsal and Pseudorehearsal,
1995). Each says in ``answered_by`` which model it is from: it is no truth, and judges nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from sft.dataset import rows
from sft.dataset.lines import Block
from sft.dataset.rows import Sample
from sft.dataset.split import is_dev
from sft.dataset.writing import replacing
from sft.store import records

_MARK = f'"{rows.ANSWERED_BY}"'.encode()
_ENCODER = msgspec.json.Encoder()


class Answered(NamedTuple):
    """What a model said of an image; ``cut``: it had not come to an end."""

    image: Path
    prompt: str
    text: str
    cut: bool


class Written(NamedTuple):
    """How many rows were written, and how many answers were left out because they were empty or cut off, or the image
    had a row already.
    """

    rows: int
    empty: int
    cut: int
    again: int


def write_answers(target: Path, answers: Iterable[Answered], model: str, *, force: bool = False) -> Written:
    """Write a dataset file (format erniekit); its images are copied into NAME-images/ beside it, named by content.

    Args:
        model: what is put into ``answered_by``.
    Raises:
        InputError: the file exists, and ``force`` does not say that it may go.
    """
    folder = target.with_name(f"{target.name.partition('.')[0]}-images")
    empty = cut = again = 0
    seen: set[tuple[str, str]] = set()
    with replacing(target, force=force) as file:
        folder.mkdir(exist_ok=True)
        for answer in answers:
            name = f"{records.hash_file(answer.image)[:32]}{answer.image.suffix.lower()}"
            if answer.cut or not answer.text.strip():
                cut, empty = cut + answer.cut, empty + (not answer.cut)
                continue
            if (name, answer.prompt) in seen:
                again += 1
                continue
            seen.add((name, answer.prompt))
            _copy(answer.image, folder / name)
            sample = Sample(((f"./{folder.name}/{name}", 0),), ((answer.prompt, answer.text),))
            file.write(_ENCODER.encode({**rows.to_erniekit(sample), rows.ANSWERED_BY: model}) + b"\n")
    return Written(len(seen), empty, cut, again)


def own_answers(block: Block, form: rows.Format, share: float) -> Iterator[tuple[int, str]]:
    """(line, whose) of the rows that judge, and are a model's own answers: by them it would be right whatever it says.

    Args:
        share: of the documents whose rows judge: 1 of a held-out set, ``dataset.dev_share`` of a training set.
    """
    if block.overlong or _MARK not in block.data:
        return
    for number, line in enumerate(block.lines(), block.first):
        if _MARK not in line or not (model := rows.model_of(line)):
            continue
        sample = rows.decode(line, form) if share < 1 else None
        if share >= 1 or (sample is not None and is_dev(sample, share)):
            yield number, f"answered by {model[:80]}"


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    temporary.replace(target)
