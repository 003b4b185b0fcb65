"""Job ``predict``: one model reads a share of the rows. Several calls, or Modal's ``.map``, share the work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.dataset.tasks import Prompt, known
from sft.jobs.base import Job
from sft.jobs.placed import Named, found_model, identity
from sft.jobs.placed_rows import RowsPlace
from sft.models.held_out import HeldOutRow, drawn, with_files
from sft.models.questions import Answer
from sft.models.readers import OURS, PROCESSES, Backend, Reader, open_reader
from sft.store import records
from sft.store.appended import adding, kept

DECODING = 4  # how answers are decoded; another version reads again
SAID = 64  # rows between two events


class Reading(BaseModel):
    """How rows are read: ``max_rows`` of them at most, greedily, ``batch_size`` together.

    ``gpu`` is what the call is billed as. ``prompts`` are those that the user declared. ``backend`` reads with all
    models that are compared: a difference between two backends would count as one between two models.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    batch_size: int
    max_new_tokens: int
    max_rows: int
    gpu: str = "cpu"
    prompts: dict[str, Prompt] = {}
    backend: Literal["auto", Backend] = "auto"

    def place(self, model_identity: str) -> str:
        """Where a model's answers lie on the outputs volume: one folder for each model, way of decoding and backend
        (auto: PaddleFormers').
        """
        how = {"tokens": self.max_new_tokens, "device": self.device, "version": DECODING}
        if self.backend in PROCESSES:
            how["backend"] = [self.backend, PROCESSES[self.backend].reading]
        return f"predictions/{model_identity[:16]}-{records.fingerprint(how)[:8]}"

    @property
    def reader(self) -> str:
        """The backend that reads, where nobody has chosen another."""
        return OURS if self.backend == "auto" else self.backend

    def by(self, backend: str) -> Self:
        """The same, read by that backend."""
        return self.model_copy(update={"backend": backend})


class PredictArgs(Reading):
    """A share of the work: rows ``shard``, ``shard + shards``, … of those that are read.

    ``backend`` has been chosen for all shares (see :mod:`sft.jobs.choose_reader`); auto is PaddleFormers.
    """

    model: Named
    rows: RowsPlace
    shard: int = 0
    shards: int = 1


def predict(args: PredictArgs, context: Context) -> dict[str, Any]:
    """Read the share's rows that have not been read before.

    Returns: ``{"rows": read now, "done": of the share in all}``.
    Raises:
        IntegrityError: the model has no record, is damaged or does not load.
    """
    rows = rows_of_all(args, args.rows, context)[0][args.shard :: args.shards]
    _, read = answers(args, context, args.model, rows)
    return {"rows": read, "done": len(rows)}


def rows_of_all(args: Reading, rows: RowsPlace, context: Context) -> tuple[list[HeldOutRow], int]:
    """(the rows that are read, how many rows there are); each turn of a row counts as one.

    Of more than ``max_rows`` a sample is read: see :func:`sft.models.held_out.drawn`. Images that are packed are files
    while the job runs.
    """
    found, count = drawn(rows.path(context), rows.format, args.max_rows, known(args.prompts), rows.dev_share)
    return with_files(found, context.unpacked.paths), count


def answers(args: Reading, context: Context, model: Named, rows: Sequence[HeldOutRow]) -> tuple[list[Answer], int]:
    """(a model's answers in the order of the rows, how many of them were read now); what was read before is kept.

    Raises:
        IntegrityError: the model has no record, is damaged or does not load.
    """
    with Answering(args, context, model) as asked:
        return asked.answers(rows), asked.read


class Answering:
    """A model's answers: those that are kept, and for the rest the model, which is loaded once it is needed.

    Attributes:
        read: how many rows were read with it.
    Raises:
        IntegrityError: the model has no record, is damaged or does not load.
    """

    def __init__(self, args: Reading, context: Context, model: Named) -> None:
        self._args, self._context, self._model = args, context, model
        self._folder = context.volumes.outputs / args.place(identity(model, context))
        self._reader: Reader | None = None
        self.read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.close()

    def answers(self, rows: Sequence[HeldOutRow]) -> list[Answer]:
        """The answers in the order of the rows."""
        keys, done = [row.key() for row in rows], finished(self._folder)
        missing = {key: row for key, row in zip(keys, rows) if key not in done}
        total, label = len(rows), self._model.label
        self._context.event("evaluate", model=label, rows=total, done=total - len(missing))
        if missing:
            done.update(read_rows(self._args, self._context, label, self.load(), self._folder, missing, total=total))
            self._context.commit()
            self.read += len(missing)
        return [done[key] for key in keys]

    def load(self) -> Reader:
        """The loaded model."""
        if self._reader is None:
            with found_model(self._model.place, self._context) as folder:
                self._reader = open_reader(self._args.reader, folder, self._args.device)
        return self._reader


def finished(folder: Path) -> dict[str, Answer]:
    """Row's key → answer, of all calls that have read with this model; torn lines are left out."""
    return {said["row"]: Answer(said["text"], said.get("cut", False)) for said in kept(folder) if "text" in said}


def read_by(folder: Path) -> dict[str, str]:
    """The versions of the packages that have read what lies there, of the last call that says so."""
    found: dict[str, str] = {}
    for part in sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime):
        with part.open(encoding="utf-8", errors="replace") as lines, suppress(ValueError, KeyError, TypeError):
            found = dict(json.loads(lines.readline())["versions"])
    return found


def read_rows(
    args: Reading,
    context: Context,
    label: str,
    reader: Reader,
    folder: Path,
    missing: dict[str, HeldOutRow],
    *,
    total: int,
) -> dict[str, Answer]:
    """Read rows, adding each batch to a file that nobody else writes, so that a killed call has lost one batch."""
    found: dict[str, Answer] = {}
    keys, rows = list(missing), list(missing.values())
    before = total - len(rows)
    with adding(folder, context.writer) as add:
        add({"backend": reader.backend, "versions": dict(reader.versions)})
        turns = [row.turns for row in rows]
        lengths = [len(row.truth) for row in rows]  # only to put answers of like length together
        size, longest = args.batch_size, args.max_new_tokens
        for number, answer in reader.answers(turns, batch_size=size, max_new_tokens=longest, lengths=lengths):
            found[keys[number]] = answer
            add({"row": keys[number], **answer._asdict()})
            if len(found) % SAID == 0:
                context.event("evaluate", model=label, rows=total, done=before + len(found))
    context.event("evaluate", model=label, rows=total, done=total)
    return found


PREDICT = Job("predict", PredictArgs, predict, billed=True)
