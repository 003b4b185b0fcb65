"""What is found out about a backend that reads, and which one was taken (see :mod:`sft.jobs.choose_reader`)."""

from __future__ import annotations

from typing import NotRequired  # pydantic takes no other before Python 3.12

from typing_extensions import TypedDict


class Differs(TypedDict):
    """An answer that two backends do not give alike; ``row`` is its key."""

    row: str
    ours: str
    theirs: str


class Proof(TypedDict):
    """How a backend's answers compare with PaddleFormers', for one model (see :mod:`sft.models.proof`).

    ``differ`` of ``rows`` are not the same, ``other`` are the first of them; ``kinds`` of rows were compared; ``rates``
    in rows/s, by backend, without loading; ``failed``: why the backend gave no answers.
    """

    backend: str
    passed: bool
    rows: int
    differ: int
    other: list[Differs]
    kinds: list[str]
    rates: NotRequired[dict[str, float]]
    versions: NotRequired[dict[str, dict[str, str]]]
    failed: NotRequired[str]
    finished: NotRequired[float]


class ReadBy(TypedDict):
    """By which backend all models of a comparison are read, and why; ``proofs`` by model, where there are."""

    backend: str
    why: str
    proofs: dict[str, Proof]
    versions: NotRequired[dict[str, str]]  # of the packages that have read, where they are known
