"""Job ``evaluate``: base and tuned model read the same held-out rows; scores, predictions and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from sft import metrics, records
from sft.errors import IntegrityError
from sft.jobs.base import Context, Job
from sft.jobs.predict import Comparison, HeldOutRow, Which, finished, held_out_rows, locate, read_rows
from sft.report import write_report


class EvaluateArgs(Comparison):
    """``examples`` rows are shown as pictures in the report."""

    examples: int


def evaluate(args: EvaluateArgs, context: Context) -> dict[str, Any]:
    """Evaluate, or return the record of the same evaluation done before.

    Returns: the record: folder (on the outputs volume), rows, base and tuned scores, tasks, seconds.
    Raises:
        IntegrityError: the training has no record, or a model is not whole or does not load.
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
    started = time.time()
    rows = held_out_rows(args, context)
    base = _predictions(args, context, "base", rows)
    tuned = _predictions(args, context, "tuned", rows)
    result = {
        **_scores(rows, base, tuned),
        "rows": len(rows),
        "name": training["name"],
        "seconds": time.time() - started,
    }
    result["folder"] = folder.relative_to(context.volumes.outputs).as_posix()
    texts = [{"row": r.number, "truth": r.truth, "base": b, "tuned": t} for r, b, t in zip(rows, base, tuned)]
    records.write_text(folder / "predictions.jsonl", "".join(json.dumps(t, ensure_ascii=False) + "\n" for t in texts))
    records.write_json(folder / "report.json", {**result, "training": training})
    write_report(folder / "report.html", result, training, run / "metrics.jsonl", rows, base, tuned, args.examples)
    records.write_record(folder, result)
    context.commit()
    return result


def _predictions(args: EvaluateArgs, context: Context, which: Which, rows: Sequence[HeldOutRow]) -> list[str]:
    """One model's texts in the order of the rows; only what no call has read yet is read."""
    model, path = locate(args, context, which)
    done = finished(path)
    missing = [row for row in rows if row.number not in done]
    context.event("evaluate", model=which, rows=len(rows), done=len(rows) - len(missing))
    if missing:
        done.update(read_rows(args, context, which, model, path, missing, total=len(rows)))
    return [done[row.number] for row in rows]


def _scores(rows: Sequence[HeldOutRow], base: Sequence[str], tuned: Sequence[str]) -> dict[str, Any]:
    def table(texts: Sequence[str]) -> dict[str, Any]:
        triples = list(zip(rows, texts))
        tasks = metrics.by_group(triples, lambda t: t[0].task, lambda t: (t[0].truth, t[1]))
        total = metrics.score((row.truth, text) for row, text in triples)
        return {"all": total.as_dict(), **{task: scores.as_dict() for task, scores in tasks.items()}}

    return {"base": table(base), "tuned": table(tuned), "metrics_version": metrics.VERSION}


EVALUATE = Job("evaluate", EvaluateArgs, evaluate)
