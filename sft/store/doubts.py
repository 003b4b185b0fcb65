"""The record of a search for labels that are probably wrong."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict


class Doubted(TypedDict):
    """Labels that are probably wrong, written by the job doubt: so many of ``rows`` (of the ``of_rows`` there are), of
    which ``read`` were read by both models.
    """

    title: str
    model: str
    base: str
    rows: int
    of_rows: int
    read: int
    doubtful: int
    odds: float  # how many times likelier something else is
    read_by: str
    pictures: NotRequired[int]  # scripts of pictures beside the report
    folder: str
    seconds: float
    finished: float
