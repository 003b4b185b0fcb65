"""Where a job finds rows: the files of a dataset, or one of them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from sft.context import Context
from sft.dataset.rows import Format


class MixedPlace(BaseModel):
    """A set whose rows are trained on beside a training set's: ``share`` of all rows are its."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    format: Format
    share: float


class DatasetPlace(BaseModel):
    """``root`` is a folder: absolute on one machine, or a name on the data volume. ``train`` lies in it.

    ``odd`` are the training images that :mod:`sft.dataset.pictures` has to look at; None where nobody has counted them.
    ``dev`` are the rows that choose among checkpoints; without such a file ``dev_share`` of the training set's
    documents do (see :func:`sft.dataset.split.is_dev`), and are not trained on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str
    train: str
    held_out: str
    train_format: Format
    held_out_format: Format
    fingerprint: str = Field(min_length=1)  # a report that identifies nothing makes no place
    odd: int | None = None
    dev: str = ""
    dev_format: Format = "erniekit"
    dev_share: float = 0.0
    part: float = 1.0
    mix: dict[str, MixedPlace] = Field(default_factory=dict)

    @property
    def has_dev(self) -> bool:
        """Are there rows that choose among checkpoints?"""
        return bool(self.dev or self.dev_share)

    def folder(self, context: Context) -> Path:
        """The folder as the job sees it."""
        return context.volumes.data / self.root


class RowsPlace(BaseModel):
    """A file of rows: ``root`` is a folder (absolute on one machine, or on the data volume), ``file`` is in it.

    ``dev_share``: where it is above 0, those of its rows that choose among checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str
    file: str
    format: Format
    dev_share: float = 0.0

    def path(self, context: Context) -> Path:
        """The file as the job sees it."""
        return context.volumes.data / self.root / self.file
