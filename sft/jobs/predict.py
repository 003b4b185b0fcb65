"""Job ``predict``: one model reads a share of the held-out rows. Several calls, or Modal's ``.map``, share the work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.dataset.tasks import Prompt, known
from sft.jobs.base import Job
from sft.jobs.placed import Named, found_model, identity
from sft.jobs.placed_rows import RowsPlace
from sft.models.held_out import HeldOutRow, drawn
from sft.models.recognition import Answer, Recogniser
from sft.store import records

DECODING = 4  # how answers are decoded; another version reads again
SAID = 64  # rows between two events


class Reading(BaseModel):
    """How rows are read: ``max_rows`` of them at most, greedily, ``batch_size`` together.

    ``gpu`` is what the call is billed as. ``prompts`` are those that the user declared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    batch_size: int
    max_new_tokens: int
    max_rows: int
    gpu: str = "cpu"
    prompts: dict[str, Prompt] = {}

    def place(self, model_identity: str) -> str:
        """Where a model's answers lie on the outputs volume: one folder for each model and way of decoding."""
        decoding = records.fingerprint({"tokens": self.max_new_tokens, "device": self.device, "version": DECODING})
        return f"predictions/{model_identity[:16]}-{decoding[:8]}"


class PredictArgs(Reading):
    """A share of the work: rows ``shard``, ``shard + shards``, … of those that are read."""

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

    Of more than ``max_rows`` a sample is read: see :func:`sft.models.held_out.drawn`.
    """
    return drawn(rows.path(context), rows.format, args.max_rows, known(args.prompts), rows.dev_share)


def answers(args: Reading, context: Context, model: Named, rows: Sequence[HeldOutRow]) -> tuple[list[Answer], int]:
    """(a model's answers in the order of the rows, how many of them were read now); what was read before is kept.

    Raises:
        IntegrityError: the model has no record, is damaged or does not load.
    """
    asked = Answering(args, context, model)
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
        self._recogniser: Recogniser | None = None
        self.read = 0

    def answers(self, rows: Sequence[HeldOutRow]) -> list[Answer]:
        """The answers in the order of the rows."""
        keys, done = [row.key() for row in rows], finished(self._folder)
        missing = {key: row for key, row in zip(keys, rows) if key not in done}
        self._told(len(rows), len(rows) - len(missing))
        if missing:
            done.update(self._read(missing, before=len(rows) - len(missing)))
            self._context.commit()
            self.read += len(missing)
        return [done[key] for key in keys]

    def load(self) -> Recogniser:
        """The loaded model."""
        if self._recogniser is None:
            with found_model(self._model.place, self._context) as folder:
                self._recogniser = Recogniser(folder, self._args.device)
        return self._recogniser

    def _read(self, missing: dict[str, HeldOutRow], *, before: int) -> dict[str, Answer]:
        """Read rows, adding each batch to a file that nobody else writes, so that a killed call has lost one batch."""
        recogniser = self.load()
        self._folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, Answer] = {}
        keys, rows = list(missing), list(missing.values())
        with (self._folder / f"{self._context.writer}.jsonl").open("a", encoding="utf-8") as file:
            file.write("\n")  # a line that a kill has torn ends here
            turns = [row.turns for row in rows]
            lengths = [len(row.truth) for row in rows]  # only to put answers of like length together
            size, longest = self._args.batch_size, self._args.max_new_tokens
            for number, answer in recogniser.answers(turns, batch_size=size, max_new_tokens=longest, lengths=lengths):
                found[keys[number]] = answer
                file.write(json.dumps({"row": keys[number], **answer._asdict()}, ensure_ascii=False) + "\n")
                if len(found) % SAID == 0:
                    file.flush()
                    self._told(before + len(rows), before + len(found))
        self._told(before + len(rows), before + len(rows))
        return found

    def _told(self, rows: int, done: int) -> None:
        self._context.event("evaluate", model=self._model.label, rows=rows, done=done)


def finished(folder: Path) -> dict[str, Answer]:
    """Row's key → answer, of all calls that have read with this model; torn lines are left out."""
    done: dict[str, Answer] = {}
    for part in sorted(folder.glob("*.jsonl")):
        for line in part.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                done[entry["row"]] = Answer(entry["text"], entry.get("cut", False))
            except (ValueError, KeyError, TypeError):
                continue  # torn by a kill: the row is read again
    return done


PREDICT = Job("predict", PredictArgs, predict, billed=True)
