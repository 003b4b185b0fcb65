"""What the records of finished steps hold: plain JSON, whose keys mypy knows.

A key that is misspelt is an error of type checking, no KeyError after a training that was paid for. They are typed
dictionaries, because a record is read and passed on as it was written, also one of an earlier version: what such a one
may lack is ``NotRequired``, and is read by ``get``. What a record is read as is decided where it is read, here.
"""

from __future__ import annotations

from pathlib import Path
from typing import (
    Any,
    Literal,
    NotRequired,  # pydantic takes no other before Python 3.12
    cast,
)

from typing_extensions import TypedDict

from sft.store import records
from sft.store.proofs import ReadBy
from sft.store.records import Manifest

Model = Literal["base", "champion", "tuned"]


class Wheel(TypedDict):
    """A wheel on the models volume, written by the job download_wheel. ``size`` in bytes."""

    path: str
    url: str
    size: int
    sha256: str
    finished: NotRequired[float]


class Base(TypedDict):
    """A base model on the models volume, written by the job download_model; ``identity`` is its manifest's hash."""

    name: str
    source: NotRequired[str]
    repo: NotRequired[str]
    revision: NotRequired[str]
    identity: str
    files: Manifest
    finished: NotRequired[float]


class LeftOut(TypedDict):
    """Rows that the trainer left out: ``times`` over all ``passes`` over the ``rows``; reason → how often."""

    rows: int
    passes: float
    times: int
    why: dict[str, int]


class DevScore(TypedDict):
    """A checkpoint on the dev rows, written by the job read_dev: ``rows`` of ``of_rows``; ``scores`` in ``all`` and of
    each task; ``final``: it is the model of the finished training. ``seconds`` with the loading.
    """

    step: int
    final: bool
    rows: int
    of_rows: int
    documents: int
    scores: dict[str, Scored]
    metrics_version: int
    seconds: float


class Chosen(TypedDict):
    """Which checkpoint became a training's model, written by the job choose: the one of ``step``, by ``metric``.

    ``scores`` are of all that were read, by step (step, error, cer, ned); ``kept`` says why another one is the model.
    """

    step: int
    metric: str
    rows: int
    of_rows: int
    scores: list[dict[str, float]]
    kept: str


class Training(TypedDict):
    """A finished training, written by the job train; times in seconds, ``loss`` in nats per token."""

    identity: str
    name: str
    engine: str
    engine_version: str
    spec: dict[str, Any]
    dataset: str
    base_model: str
    start_from: NotRequired[str]
    steps: int
    left_out: NotRequired[LeftOut]
    loss: float | None
    seconds: float
    finished: float
    resumed_from: str | None
    best_checkpoint: str | None
    model: Manifest
    model_identity: str
    call_id: NotRequired[str]
    pictures: NotRequired[dict[str, int]]
    chosen: NotRequired[Chosen]  # where dev rows have chosen
    stopped: NotRequired[str]  # why it ended before its last step, where it did
    fence: NotRequired[int]  # of the lease that it was written under; 0 on one machine


class Scored(TypedDict):
    """A model's scores over some rows (see :class:`sft.metrics.Scores`)."""

    rows: int
    characters: int
    words: int
    error: float
    cer: float
    wer: float
    ned: float
    exact: float
    empty: int
    runaway: int
    cut: NotRequired[int]
    unreadable: NotRequired[int]
    structure: float | None
    boxes: NotRequired[float | None]  # of evaluations with metrics 4 and later
    intervals: dict[str, list[float]]


class Change(TypedDict):
    """The candidate's metric minus another model's (see :class:`sft.metrics.Difference`)."""

    value: float
    low: float
    high: float
    better: float


class Guarded(TypedDict):
    """What models read of a guard set: ``rows`` of ``of_rows``; scores by model, and the candidate's differences."""

    rows: int
    of_rows: int
    documents: int
    scores: dict[Model, dict[str, Scored]]
    groups: NotRequired[dict[str, dict[Model, dict[str, Scored]]]]
    differences: dict[Model, dict[str, dict[str, Change]]]


class Evaluation(TypedDict):
    """An evaluation, written by the job evaluate. A model's scores are those in ``all`` and of each task."""

    models: list[Model]
    rows: int
    held_out: NotRequired[int]
    documents: NotRequired[int]  # that the rows belong to; of evaluations with metrics 5 and later
    base: dict[str, Scored]
    champion: NotRequired[dict[str, Scored]]
    tuned: dict[str, Scored]
    groups: NotRequired[dict[str, dict[Model, dict[str, Scored]]]]
    differences: dict[Model, dict[str, dict[str, Change]]]
    metrics_version: NotRequired[int]
    normalise: NotRequired[dict[str, str]]
    max_new_tokens: NotRequired[int]
    guards: NotRequired[dict[str, Guarded]]
    pictures: NotRequired[int]  # scripts of pictures beside the report
    read_by: NotRequired[ReadBy]  # of evaluations of before: PaddleFormers
    name: NotRequired[str]
    seconds: NotRequired[float]
    finished: NotRequired[float]
    folder: NotRequired[str]
    args: NotRequired[dict[str, Any]]
    row_keys: NotRequired[list[str]]  # what the rows are told by (see sft.store.decisions)
    judged_before: NotRequired[int]  # other trainings of the line that the gate has decided on by these rows


class Compared(TypedDict):
    """Models on the same rows, written by the job compare; the first of ``models`` is what the others differ from.

    ``identities``, ``places`` and ``scores`` are by model, the scores in ``all`` and of each task; ``rows`` were read
    of ``of_rows``.
    """

    title: str
    models: list[str]
    identities: dict[str, str]
    places: dict[str, str]
    rows: int
    of_rows: int
    documents: int
    scores: dict[str, dict[str, Scored]]
    groups: dict[str, dict[str, dict[str, Scored]]]
    differences: dict[str, dict[str, dict[str, Change]]]
    metrics_version: int
    normalise: dict[str, str]
    max_new_tokens: int
    read_by: ReadBy
    pictures: NotRequired[int]  # scripts of pictures beside the report
    folder: str
    seconds: float
    finished: float


class Second(TypedDict, total=False):
    """What the second reader came to: ``unchecked`` says why it did not look; ``other`` are answers that differ."""

    unchecked: str
    rows: int
    equal: int
    versions: dict[str, str]
    device: str
    other: list[tuple[str, str]]


class Export(TypedDict):
    """The check of a saved model, written by the job check_export."""

    problems: list[str]
    rows: int
    equal: int
    transformers: NotRequired[Second]
    seconds: NotRequired[float]


class Passed(TypedDict):
    """One requirement of the gate (see :class:`sft.metrics.gate.Check`)."""

    name: str
    passed: bool
    found: str
    needed: str


class Said(TypedDict):
    """What a person said to a candidate that the gate lets pass; ``late``: nobody did in time, which refuses it."""

    accepted: bool
    who: str
    reason: str
    late: bool


class Decision(TypedDict):
    """What the job promote came to; ``stale``: another champion is in service since the candidate was compared;
    ``open``: the gate lets it pass, and a person is to be asked.

    ``live``, added by who asks: is the candidate in service now?
    """

    open: NotRequired[bool]
    answer: NotRequired[Said]

    stale: NotRequired[bool]
    promoted: bool
    checks: list[Passed]
    champion: dict[str, Any] | None
    identity: NotRequired[str]
    over: str
    rule: NotRequired[dict[str, Any]]
    by: NotRequired[str]
    time: NotRequired[float]
    rows: NotRequired[list[str]]  # what the held-out rows are told by (see sft.store.decisions)
    evaluation: NotRequired[str]
    live: NotRequired[bool]


def training(run: Path) -> Training | None:
    """The record of the training in the folder ``run``, None where it has not finished."""
    return cast("Training | None", records.read_record(run))


def dev_score(path: Path) -> DevScore | None:
    """What a checkpoint came to on the dev rows, None where it has not read them."""
    return cast("DevScore | None", records.read_json(path))


def evaluation(folder: Path) -> Evaluation | None:
    """The record of the evaluation in ``folder``, None where it has not finished."""
    return cast("Evaluation | None", records.read_record(folder))


def compared(folder: Path) -> Compared | None:
    """The record of the comparison in ``folder``, None where it has not finished."""
    return cast("Compared | None", records.read_record(folder))


def export(folder: Path) -> Export | None:
    """The record of the check of a saved model in ``folder``, None where it has not finished."""
    return cast("Export | None", records.read_record(folder))


def base(folder: Path) -> Base | None:
    """The record of the base model in ``folder``, None where it has not arrived."""
    return cast("Base | None", records.read_record(folder))
