"""Job ``predict``: one model reads a share of the held-out rows. Several calls, or Modal's ``.map``, share the work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sft import metrics, records
from sft.dataset.reading import read_samples
from sft.errors import IntegrityError
from sft.jobs.base import Context, Job
from sft.jobs.train import DatasetPlace

Which = Literal["base", "tuned"]
SAID = 64  # rows between two events


class Comparison(BaseModel):
    """What is compared: ``identity`` is the training's, ``base_model`` a folder on the models volume."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str
    base_model: str
    dataset: DatasetPlace
    device: str
    batch_size: int
    max_new_tokens: int
    max_rows: int

    def key(self, model_identity: str) -> str:
        """Names one model's predictions: the model, the rows and how they are decoded."""
        decoding = {"rows": self.max_rows, "tokens": self.max_new_tokens, "metrics": metrics.VERSION}
        return records.fingerprint([model_identity, self.dataset.fingerprint, decoding])[:16]


class PredictArgs(Comparison):
    """A share of the work: rows ``shard``, ``shard + shards``, … of the model ``which``."""

    which: Which
    shard: int = 0
    shards: int = 1


@dataclass(frozen=True)
class HeldOutRow:
    """One held-out row: its first turn, with its image."""

    number: int
    image: Path
    prompt: str
    truth: str
    task: str


def predict(args: PredictArgs, context: Context) -> dict[str, Any]:
    """Read the share's rows that have not been read before.

    Returns: ``{"rows": read now, "done": of the share in all}``.
    Raises:
        IntegrityError: the model has no record, is damaged or does not load.
    """
    rows = held_out_rows(args, context)[args.shard :: args.shards]
    model, path = locate(args, context, args.which)
    done = finished(path)
    missing = [row for row in rows if row.number not in done]
    if missing:
        share = path.with_name(f"{path.stem}.{args.shard}of{args.shards}.jsonl")
        read_rows(args, context, args.which, model, share, missing, total=len(rows))
        context.commit()
    return {"rows": len(missing), "done": len(rows)}


def held_out_rows(args: Comparison, context: Context) -> list[HeldOutRow]:
    """The rows that are read: the first turn of each, up to ``max_rows``, in the file's order."""
    path = args.dataset.folder(context) / args.dataset.held_out
    rows: list[HeldOutRow] = []
    for sample in read_samples(path, args.dataset.held_out_format):
        prompt, truth = sample.turns[0]
        image = next((name for name, turn in sample.images if turn == 0), None)
        if image is not None:
            rows.append(HeldOutRow(len(rows), path.parent / image, prompt, truth, sample.task))
        if len(rows) == args.max_rows:
            break
    return rows


def locate(args: Comparison, context: Context, which: Which) -> tuple[Path, Path]:
    """(model folder, file of its predictions). Shares of them lie beside the file.

    Raises:
        IntegrityError: the model has no record, or its files are not the ones that the record names.
    """
    if which == "base":
        model = context.volumes.models / args.base_model
        record = records.read_record(model)
        files = (record or {}).get("files", {})
    else:
        model = context.volumes.run(args.identity) / "model"
        record = records.read_record(model.parent)
        files = (record or {}).get("model", {})
    if record is None:
        remedy = "run the flow: its earlier steps make the model"
        raise IntegrityError(f"the {which} model is not finished", where=str(model), remedy=remedy)
    if broken := records.broken_files(model, files, content=which == "tuned"):
        remedy = "remove its folder and run again"
        raise IntegrityError(f"the {which} model is damaged", where=str(model), value="; ".join(broken), remedy=remedy)
    key = args.key(record["identity"] if which == "base" else record["model_identity"])
    return model, context.volumes.outputs / "predictions" / f"{key}.jsonl"


def finished(path: Path) -> dict[int, str]:
    """Row number → text of everything that has been read, in the file and its shares; torn lines are left out."""
    done: dict[int, str] = {}
    for part in sorted(path.parent.glob(f"{path.stem}*.jsonl")):
        for line in part.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                done[entry["row"]] = entry["text"]
            except (ValueError, KeyError, TypeError):
                continue  # torn by a kill: the row is read again
    return done


def read_rows(
    args: Comparison, context: Context, which: Which, model: Path, path: Path, rows: Sequence[HeldOutRow], *, total: int
) -> dict[int, str]:
    """Read rows, adding each batch to ``path`` as it comes, so that a killed call has lost one batch."""
    from sft.recognition import Recogniser

    recogniser = Recogniser(model, args.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    texts: dict[int, str] = {}
    before = total - len(rows)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n")  # a line that a kill has torn ends here
        pairs = [(row.image, row.prompt) for row in rows]
        for number, text in recogniser.read(pairs, batch_size=args.batch_size, max_new_tokens=args.max_new_tokens):
            texts[rows[number].number] = text
            file.write(json.dumps({"row": rows[number].number, "text": text}, ensure_ascii=False) + "\n")
            if len(texts) % SAID == 0:
                file.flush()
                context.event("evaluate", model=which, rows=total, done=before + len(texts))
    context.event("evaluate", model=which, rows=total, done=total)
    return texts


PREDICT = Job("predict", PredictArgs, predict)
