"""Job ``evaluate``: base and tuned model read the same held-out rows; scores, predictions and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sft import metrics, records
from sft.dataset.validate import read_samples
from sft.errors import IntegrityError
from sft.jobs.base import Context, Job
from sft.jobs.train import DatasetPlace
from sft.report import write_report


class EvaluateArgs(BaseModel):
    """``identity`` is the training's; ``base_model`` a folder on the models volume. Rows are taken in file order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str
    base_model: str
    dataset: DatasetPlace
    device: str
    batch_size: int
    max_new_tokens: int
    max_rows: int
    examples: int

    def key(self, model_identity: str) -> str:
        """Names the evaluation: the model, the rows and how they are decoded."""
        decoding = {"rows": self.max_rows, "tokens": self.max_new_tokens, "metrics": metrics.VERSION}
        return records.fingerprint([model_identity, self.dataset.fingerprint, decoding])[:16]


@dataclass(frozen=True)
class HeldOutRow:
    """One held-out row: its first turn, with its image."""

    number: int
    image: Path
    prompt: str
    truth: str
    task: str


def evaluate(args: EvaluateArgs, context: Context) -> dict[str, Any]:
    """Evaluate, or return the record of the same evaluation done before.

    Returns: the record: folder (on the outputs volume), rows, base and tuned scores, tasks, seconds.
    Raises:
        IntegrityError: the training has no record, or its model is not whole or does not load.
    """
    run = context.volumes.run(args.identity)
    training = records.read_record(run)
    if training is None:
        raise IntegrityError(
            "the training has not finished", where=str(run), remedy="run the flow: its step train first"
        )
    folder = run / "evaluation" / args.key(training["model_identity"])
    if (record := records.read_record(folder)) is not None:
        return record
    if broken := records.broken_files(run / "model", training["model"]):
        remedy = "remove the run's folder and train again"
        raise IntegrityError("the tuned model is damaged", where=str(run), value="; ".join(broken), remedy=remedy)
    started = time.time()
    folder.mkdir(parents=True, exist_ok=True)
    rows = held_out_rows(args, context)
    base_record = records.read_record(context.volumes.models / args.base_model) or {}
    base_key = args.key(base_record.get("identity", ""))
    shared = context.volumes.outputs / "predictions" / f"{base_key}.jsonl"
    base = _predictions(args, context, "base", context.volumes.models / args.base_model, shared, rows)
    tuned = _predictions(args, context, "tuned", run / "model", folder / "predictions.jsonl", rows)
    result = {
        **_scores(rows, base, tuned),
        "rows": len(rows),
        "name": training["name"],
        "seconds": time.time() - started,
    }
    result["folder"] = folder.relative_to(context.volumes.outputs).as_posix()
    records.write_json(folder / "report.json", {**result, "training": training})
    write_report(folder / "report.html", result, training, run / "metrics.jsonl", rows, base, tuned, args.examples)
    records.write_record(folder, result)
    context.commit()
    return result


def held_out_rows(args: EvaluateArgs, context: Context) -> list[HeldOutRow]:
    """The rows that are read: the first turn of each, up to ``max_rows``."""
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


def _predictions(
    args: EvaluateArgs, context: Context, label: str, model: Path, path: Path, rows: Sequence[HeldOutRow]
) -> list[str]:
    """Read the rows that ``path`` does not have yet, adding each batch to it as it comes."""
    done = _read_done(path)
    missing = [row for row in rows if row.number not in done]
    context.event("evaluate", model=label, rows=len(rows), done=len(rows) - len(missing))
    if missing:
        from sft.recognition import Recogniser

        recogniser = Recogniser(model, args.device)
        path.parent.mkdir(parents=True, exist_ok=True)
        pairs = [(row.image, row.prompt) for row in missing]
        with path.open("a", encoding="utf-8") as file:
            for number, text in recogniser.read(pairs, batch_size=args.batch_size, max_new_tokens=args.max_new_tokens):
                row = missing[number].number
                done[row] = text
                file.write(json.dumps({"row": row, "text": text}, ensure_ascii=False) + "\n")
                if len(done) % 64 == 0:
                    file.flush()
                    context.event("evaluate", model=label, rows=len(rows), done=len(done))
        context.event("evaluate", model=label, rows=len(rows), done=len(rows))
    return [done[row.number] for row in rows]


def _read_done(path: Path) -> dict[int, str]:
    done: dict[int, str] = {}
    if path.exists():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            try:
                entry = json.loads(line)
                done[entry["row"]] = entry["text"]
            except (ValueError, KeyError, TypeError):
                continue  # torn by a kill: the row is read again
        # A torn last line would run into the next one.
        text = "".join(json.dumps({"row": row, "text": text}, ensure_ascii=False) + "\n" for row, text in done.items())
        records.write_text(path, text)
    return done


def _scores(rows: Sequence[HeldOutRow], base: Sequence[str], tuned: Sequence[str]) -> dict[str, Any]:
    def table(texts: Sequence[str]) -> dict[str, Any]:
        triples = list(zip(rows, texts))
        tasks = metrics.by_group(triples, lambda t: t[0].task, lambda t: (t[0].truth, t[1]))
        total = metrics.score((row.truth, text) for row, text in triples)
        return {"all": total.as_dict(), **{task: scores.as_dict() for task, scores in tasks.items()}}

    return {"base": table(base), "tuned": table(tuned), "metrics_version": metrics.VERSION}


EVALUATE = Job("evaluate", EvaluateArgs, evaluate)
