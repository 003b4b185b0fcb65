"""Job ``predict``: one model reads a share of the held-out rows. Several calls, or Modal's ``.map``, share the work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.dataset.tasks import Prompt, known
from sft.errors import IntegrityError
from sft.jobs.base import Job
from sft.jobs.train import DatasetPlace
from sft.models.held_out import HeldOutRow, drawn
from sft.models.questions import Answer
from sft.models.readers import OURS, PROCESSES, Backend, Reader, open_reader
from sft.store import records
from sft.store.volumes import run_place

Which = Literal["base", "champion", "tuned"]
DECODING = 4  # how answers are decoded; another version reads again
SAID = 64  # rows between two events


class Comparison(BaseModel):
    """What is compared: ``identity`` is the candidate's training, ``base_model`` a folder on the models volume.

    ``champion`` is the training that the candidate has to beat besides the base; empty where there is none. ``gpu`` is
    what the call is billed as. ``prompts`` are those that the user declared. ``backend`` reads all the models: a
    difference between two backends would count as one between two models.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str
    champion: str = ""
    base_model: str
    dataset: DatasetPlace
    device: str
    batch_size: int
    max_new_tokens: int
    max_rows: int
    gpu: str = "cpu"
    prompts: dict[str, Prompt] = {}
    backend: Literal["auto", Backend] = "auto"

    @property
    def models(self) -> tuple[Which, ...]:
        """Whose answers are compared, the candidate's last."""
        return ("base", "champion", "tuned") if self.champion else ("base", "tuned")

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
        """The same comparison, read by that backend."""
        return self.model_copy(update={"backend": backend})


class PredictArgs(Comparison):
    """A share of the work: rows ``shard``, ``shard + shards``, … of the model ``which``.

    ``backend`` has been chosen for all shares (see :mod:`sft.jobs.choose_reader`); auto is PaddleFormers.
    """

    which: Which
    shard: int = 0
    shards: int = 1


def predict(args: PredictArgs, context: Context) -> dict[str, Any]:
    """Read the share's rows that have not been read before.

    Returns: ``{"rows": read now, "done": of the share in all}``.
    Raises:
        IntegrityError: the model has no record, is damaged or does not load.
    """
    rows = held_out_rows(args, context)[args.shard :: args.shards]
    _, read = answers(args, context, args.which, rows)
    return {"rows": read, "done": len(rows)}


def held_out_rows(args: Comparison, context: Context) -> list[HeldOutRow]:
    """The rows that are read, ``max_rows`` at most; see :func:`sft.models.held_out.drawn`."""
    return rows_of_all(args, context)[0]


def rows_of_all(args: Comparison, context: Context) -> tuple[list[HeldOutRow], int]:
    """(the rows that are read, how many rows the held-out set has); each turn of a row counts as one."""
    path = args.dataset.folder(context) / args.dataset.held_out
    return drawn(path, args.dataset.held_out_format, args.max_rows, known(args.prompts))


def locate(args: Comparison, context: Context, which: Which) -> tuple[Path, str]:
    """(model folder, identity of the model).

    Raises:
        IntegrityError: the model has no record, or its files are not the ones that the record names.
    """
    if which == "base":
        model = context.volumes.models / args.base_model
        record = records.read_record(model)
        files, identity = (record or {}).get("files", {}), (record or {}).get("identity", "")
    else:
        run = context.volumes.outputs / run_place(args.identity if which == "tuned" else args.champion)
        model, record = run / "model", records.read_record(run)
        files, identity = (record or {}).get("model", {}), (record or {}).get("model_identity", "")
    if record is None:
        remedy = "run the flow: its earlier steps make the model"
        raise IntegrityError(f"the {which} model is not finished", where=str(model), remedy=remedy)
    if broken := records.broken_files(model, files, content=which != "base"):
        remedy = "remove its folder and run again"
        raise IntegrityError(f"the {which} model is damaged", where=str(model), value="; ".join(broken), remedy=remedy)
    return model, identity


def answers(args: Comparison, context: Context, which: Which, rows: Sequence[HeldOutRow]) -> tuple[list[Answer], int]:
    """(a model's answers in the order of the rows, how many of them were read now); what was read before is kept."""
    model, identity = locate(args, context, which)
    folder = context.volumes.outputs / args.place(identity)
    keys = [row.key() for row in rows]
    done = finished(folder)
    missing = {key: row for key, row in zip(keys, rows) if key not in done}
    context.event("evaluate", model=which, rows=len(rows), done=len(rows) - len(missing))
    if missing:
        with closing(open_reader(args.reader, model, args.device)) as reader:
            done.update(read_rows(args, context, which, reader, folder, missing, total=len(rows)))
        context.commit()
    return [done[key] for key in keys], len(missing)


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


def read_by(folder: Path) -> dict[str, str]:
    """The versions of the packages that have read what lies there, of the last call that says so."""
    found: dict[str, str] = {}
    for part in sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime):
        with part.open(encoding="utf-8", errors="replace") as lines, suppress(ValueError, KeyError, TypeError):
            found = dict(json.loads(lines.readline())["versions"])
    return found


def read_rows(
    args: Comparison,
    context: Context,
    which: Which,
    reader: Reader,
    folder: Path,
    missing: dict[str, HeldOutRow],
    *,
    total: int,
) -> dict[str, Answer]:
    """Read rows, adding each batch to a file that nobody else writes, so that a killed call has lost one batch."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Answer] = {}
    keys, rows = list(missing), list(missing.values())
    before = total - len(rows)
    with (folder / f"{context.writer}.jsonl").open("a", encoding="utf-8", buffering=1) as file:
        if file.tell():
            file.write("\n")  # a line that a kill has torn ends here
        file.write(json.dumps({"backend": reader.backend, "versions": dict(reader.versions)}) + "\n")
        turns = [row.turns for row in rows]
        lengths = [len(row.truth) for row in rows]  # only to put answers of like length together
        size, longest = args.batch_size, args.max_new_tokens
        for number, answer in reader.answers(turns, batch_size=size, max_new_tokens=longest, lengths=lengths):
            found[keys[number]] = answer
            file.write(json.dumps({"row": keys[number], **answer._asdict()}, ensure_ascii=False) + "\n")
            if len(found) % SAID == 0:
                context.event("evaluate", model=which, rows=total, done=before + len(found))
    context.event("evaluate", model=which, rows=total, done=total)
    return found


PREDICT = Job("predict", PredictArgs, predict, billed=True)
