"""What the record of a dataset on the data volume holds."""

from __future__ import annotations

from typing import (
    Any,
    NotRequired,  # pydantic takes no other before Python 3.12
)

from typing_extensions import TypedDict


class Files(TypedDict):
    """Names of a stored dataset's files, relative to its folder."""

    train: str
    held_out: str
    dev: NotRequired[str]


class Stored(TypedDict):
    """A dataset on the data volume: the validator's report, and what a training's steps follow from.

    ``train_tokens`` are (tokens of a row, rows) pairs.
    """

    files: Files
    fingerprint: str
    train: dict[str, Any]
    held_out: dict[str, Any]
    dev: NotRequired[dict[str, Any]]
    train_tokens: NotRequired[list[tuple[int, int]]]
