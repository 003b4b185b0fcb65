"""Job ``evaluate``: base, champion and candidate read the same held-out rows; scores, predictions and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sft import metrics, records
from sft.errors import IntegrityError
from sft.events import EVENTS, Board
from sft.jobs.base import Context, Job
from sft.jobs.predict import DECODING, Comparison, HeldOutRow, answers, held_out_rows
from sft.metrics import Judged, Normalisation
from sft.report import write_report


class EvaluateArgs(Comparison):
    """``examples`` rows are shown as pictures in the report; ``normalise`` says what is made equal in texts."""

    examples: int
    normalise: Normalisation = Normalisation()

    def key(self, model_identity: str) -> str:
        """Names the evaluation: the models, the rows, how they are decoded and how they are judged."""
        how = {"rows": self.max_rows, "tokens": self.max_new_tokens, "normalise": self.normalise.model_dump()}
        parts = [model_identity, self.champion, self.dataset.fingerprint, how, metrics.VERSION, DECODING]
        return records.fingerprint(parts)[:16]

    def folder(self, model_identity: str) -> str:
        """Where the evaluation lies, relative to the training's folder."""
        return f"evaluation/{self.key(model_identity)}"


def evaluate(args: EvaluateArgs, context: Context) -> dict[str, Any]:
    """Evaluate, or return the record of the same evaluation done before.

    Returns: the record: args, folder (on the outputs volume), rows, the models' scores in all and by task (see
    :class:`sft.metrics.Scores`), ``groups`` by script and length, ``differences`` of the candidate to each other model.
    Raises:
        IntegrityError: the training has no record, or a model is not whole or does not load.
    """
    run = context.volumes.run(args.identity)
    training = records.read_record(run)
    if training is None:
        remedy = "run the flow: its step train first"
        raise IntegrityError("the training has not finished", where=str(run), remedy=remedy)
    folder = run / args.folder(training["model_identity"])
    if (record := records.read_record(folder)) is not None:
        return record
    started = time.time()
    rows = held_out_rows(args, context)
    texts: dict[str, list[str]] = {which: answers(args, context, which, rows)[0] for which in args.models}
    result = {**compare(rows, texts, args.normalise), "name": training["name"], "seconds": time.time() - started}
    result["finished"] = time.time()
    result["folder"] = folder.relative_to(context.volumes.outputs).as_posix()
    result["args"] = args.model_dump(mode="json")
    said = [
        {"row": row.number, "task": row.task, "truth": row.truth, **{m: texts[m][i] for m in args.models}}
        for i, row in enumerate(rows)
    ]
    records.write_text(folder / "predictions.jsonl", "".join(json.dumps(t, ensure_ascii=False) + "\n" for t in said))
    records.write_json(folder / "report.json", {**result, "training": training})
    write_report(folder / "report.html", result, training, run / "metrics.jsonl", rows, texts, args.examples)
    with Board(run / EVENTS, training["steps"]) as events:
        scores = result["tuned"]["all"]
        events.add(training["steps"], {f"held-out/{metric}": scores[metric] for metric in (*metrics.METRICS, "exact")})
    records.write_record(folder, result)
    context.commit()
    return result


def compare(rows: Sequence[HeldOutRow], texts: dict[str, list[str]], how: Normalisation) -> dict[str, Any]:
    """Scores of each model in all, by task, by script and by length, and the candidate's paired differences.

    Args:
        texts: model → its answers in the order of the rows; the candidate is called tuned.
    """
    tasks, truths = [row.task for row in rows], [row.truth for row in rows]
    judged = {model: metrics.judge(truths, answered, tasks, how) for model, answered in texts.items()}
    by_task = {"all": range(len(rows)), **metrics.rows_of(tasks)}
    groups = {
        "script": metrics.rows_of(map(metrics.script, truths)),
        "length": metrics.rows_of(map(metrics.length, truths)),
    }
    return {
        "models": list(texts),
        "rows": len(rows),
        **{model: _table(judged[model], by_task, intervals=True) for model in texts},
        "groups": {
            kind: {model: _table(judged[model], parts, intervals=False) for model in texts}
            for kind, parts in groups.items()
        },
        "differences": {
            model: {
                name: _differences(judged["tuned"].at(part), judged[model].at(part)) for name, part in by_task.items()
            }
            for model in texts
            if model != "tuned"
        },
        "metrics_version": metrics.VERSION,
        "normalise": how.model_dump(),
    }


def _table(judged: Judged, parts: dict[str, Sequence[int]], *, intervals: bool) -> dict[str, Any]:
    return {name: metrics.summarise(judged.at(part), intervals=intervals).as_dict() for name, part in parts.items()}


def _differences(candidate: Judged, reference: Judged) -> dict[str, Any]:
    return {metric: asdict(found) for metric, found in metrics.differences(candidate, reference).items()}


EVALUATE = Job("evaluate", EvaluateArgs, evaluate, billed=True)
