"""Do the held-out answers fit what a model may say? What is longer can never be read right."""

from __future__ import annotations

from pathlib import Path

from sft.dataset.reading import read_samples
from sft.dataset.rows import Format
from sft.dataset.tokens import Limits
from sft.errors import DatasetError

MOST = 4  # tokens of one character: as many as it has bytes


def check_room(path: Path, form: Format, limits: Limits, most: int) -> str:
    """A warning where answers are longer than ``most`` tokens; empty where all fit.

    Raises:
        DatasetError: hardly one in a hundred fits (counted, not estimated): the evaluation would say nothing.
    """
    answers = [answer for sample in read_samples(path, form) for _, answer in sample.turns]
    long = [tokens for answer in answers if MOST * len(answer) > most and (tokens := limits.text_tokens(answer)) > most]
    if not long:
        return ""
    longest = f"the longest {max(long)}" + ("" if limits.exact else " by estimate")
    said = (
        f"{len(long)} of {len(answers)} held-out answers are longer ({longest}) than "
        f"evaluate.max_new_tokens={most}: cut off there, no model can read them right"
    )
    remedy = f"--set evaluate.max_new_tokens={max(long) + 1}"
    if limits.exact and len(long) > 0.99 * len(answers):
        raise DatasetError(said, where=str(path), remedy=remedy)
    return f"{said}. Next: {remedy}"
