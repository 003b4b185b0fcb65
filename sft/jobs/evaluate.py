"""Job ``evaluate``: base, champion and candidate read the same held-out rows; scores, predictions and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from sft import metrics
from sft.context import Context
from sft.errors import IntegrityError
from sft.jobs.base import Job
from sft.jobs.choose_reader import choose
from sft.jobs.predict import DECODING, Comparison, answers, rows_of_all
from sft.metrics import Judged, Normalisation
from sft.models.held_out import SAMPLING, HeldOutRow
from sft.report import write_report
from sft.store import contents, records
from sft.store.contents import Change, Evaluation, Model, Scored
from sft.training.events import EVENTS, Board


class EvaluateArgs(Comparison):
    """``examples`` rows are shown as pictures in the report; ``normalise`` says what is made equal in texts."""

    examples: int
    normalise: Normalisation = Normalisation()

    def key(self, model_identity: str) -> str:
        """Names the evaluation: the models, the rows, how they are decoded and how they are judged."""
        how: dict[str, Any] = {
            "rows": [self.max_rows, SAMPLING],
            "tokens": self.max_new_tokens,
            "normalise": self.normalise.model_dump(),
        }
        if self.prompts:
            how["prompts"] = self.model_dump(mode="json")["prompts"]
        if self.backend != "auto":
            how["backend"] = self.backend
        parts = [model_identity, self.champion, self.dataset.fingerprint, how, metrics.VERSION, DECODING]
        return records.fingerprint(parts)[:16]

    def folder(self, model_identity: str) -> str:
        """Where the evaluation lies, relative to the training's folder."""
        return f"evaluation/{self.key(model_identity)}"


def evaluate(args: EvaluateArgs, context: Context) -> Evaluation:
    """Evaluate, or return the record of the same evaluation done before.

    Returns: the record: args, folder (on the outputs volume), rows (of the ``held_out`` there are), the models' scores
    in all and by task (see :class:`sft.metrics.Scores`), ``groups`` by script and length, ``differences`` of the
    candidate to each other model, ``read_by`` the backend that has read.
    Raises:
        IntegrityError: the training has no record, or a model is not whole or does not load.
    """
    run = context.volumes.run(args.identity)
    training = contents.training(run)
    if training is None:
        remedy = "run the flow: its step train first"
        raise IntegrityError("the training has not finished", where=str(run), remedy=remedy)
    folder = run / args.folder(training["model_identity"])
    if (record := contents.evaluation(folder)) is not None:
        return record
    started = time.time()
    rows, held_out = rows_of_all(args, context)
    chosen = choose(args, context)
    found = {which: answers(args.by(chosen["backend"]), context, which, rows)[0] for which in args.models}
    texts = {which: [answer.text for answer in said] for which, said in found.items()}
    cut = {which: [answer.cut for answer in said] for which, said in found.items()}
    result = compare(rows, texts, args.normalise, cut)
    result["name"], result["seconds"], result["finished"] = training["name"], time.time() - started, time.time()
    result["held_out"], result["max_new_tokens"] = held_out, args.max_new_tokens
    result["read_by"] = chosen
    result["folder"] = folder.relative_to(context.volumes.outputs).as_posix()
    result["args"] = args.model_dump(mode="json")
    said = [
        {
            "row": row.number,
            "turn": len(row.earlier),
            "task": row.task,
            "truth": row.truth,
            **{m: texts[m][i] for m in args.models},
            "cut": [m for m in args.models if cut[m][i]],
        }
        for i, row in enumerate(rows)
    ]
    records.write_text(folder / "predictions.jsonl", "".join(json.dumps(t, ensure_ascii=False) + "\n" for t in said))
    records.write_json(folder / "report.json", {**result, "training": training})
    write_report(folder / "report.html", result, training, run / "metrics.jsonl", rows, texts, args.examples, cut)
    every = result["tuned"]["all"]
    scores = {"error": every["error"], "cer": every["cer"], "wer": every["wer"], "ned": every["ned"]}
    scores["exact"] = every["exact"]
    scores = {f"held-out/{metric}": value for metric, value in scores.items()}
    Board(run / EVENTS, training["steps"]).add(training["steps"], scores)
    records.write_record(folder, result)
    context.commit()
    return result


def compare(
    rows: Sequence[HeldOutRow],
    texts: dict[Model, list[str]],
    how: Normalisation,
    cut: dict[Model, list[bool]] | None = None,
) -> Evaluation:
    """Scores of each model in all, by task, by script and by length, and the candidate's paired differences.

    Args:
        texts: model → its answers in the order of the rows; the candidate is called tuned.
        cut: model → which of them were cut off at the longest allowed; without it none was.
    """
    tasks, truths = [row.task for row in rows], [row.truth for row in rows]
    measures, documents = [row.measure for row in rows], [row.document or str(row.number) for row in rows]
    judged = {
        model: metrics.judge(truths, answered, measures, how, cut=cut[model] if cut else (), documents=documents)
        for model, answered in texts.items()
    }
    by_task = {"all": range(len(rows)), **metrics.rows_of(tasks)}
    groups = {
        "script": metrics.rows_of(map(metrics.script, truths)),
        "length": metrics.rows_of(map(metrics.length, truths)),
    }
    tables = {model: _table(judged[model], by_task, intervals=True) for model in texts}
    result: Evaluation = {
        "models": list(texts),
        "rows": len(rows),
        "held_out": len(rows),
        "documents": len(set(documents)),
        "base": tables["base"],
        "tuned": tables["tuned"],
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
    if "champion" in tables:
        result["champion"] = tables["champion"]
    return result


def _table(judged: Judged, parts: dict[str, Sequence[int]], *, intervals: bool) -> dict[str, Scored]:
    return {name: metrics.summarise(judged.at(part), intervals=intervals).as_dict() for name, part in parts.items()}


def _differences(candidate: Judged, reference: Judged) -> dict[str, Change]:
    return {metric: found.as_dict() for metric, found in metrics.differences(candidate, reference).items()}


EVALUATE = Job("evaluate", EvaluateArgs, evaluate, billed=True)
