"""Job ``evaluate``: base, champion and candidate read the same held-out rows; scores, predictions and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sft import metrics
from sft.context import Context
from sft.errors import IntegrityError
from sft.jobs.base import Job
from sft.jobs.choose_reader import reader_for
from sft.jobs.placed import Named
from sft.jobs.placed_rows import DatasetPlace, RowsPlace
from sft.jobs.predict import DECODING, Answering, Reading, rows_of_all
from sft.metrics import Normalisation
from sft.models.heard import Heard, judge
from sft.models.held_out import SAMPLING, HeldOutRow
from sft.models.questions import Answer
from sft.report import write_report
from sft.store import contents, decisions, records
from sft.store.contents import Evaluation, Guarded, Model
from sft.store.volumes import run_place
from sft.training.events import EVENTS, Board

Which = Literal["base", "champion", "tuned"]


class Comparison(Reading):
    """What is compared: ``identity`` is the candidate's training, ``base_model`` a folder on the models volume.

    ``champion`` is the training that the candidate has to beat besides the base; empty where there is none.
    """

    identity: str
    champion: str = ""
    base_model: str
    dataset: DatasetPlace

    @property
    def models(self) -> tuple[Which, ...]:
        """Whose answers are compared, the candidate's last."""
        return ("base", "champion", "tuned") if self.champion else ("base", "tuned")

    def named(self, which: Which) -> Named:
        """Where a model lies."""
        if which == "base":
            return Named(label=which, place=f"models/{self.base_model}")
        training = self.identity if which == "tuned" else self.champion
        return Named(label=which, place=f"outputs/{run_place(training)}/model")

    @property
    def rows_place(self) -> RowsPlace:
        """The held-out rows."""
        return RowsPlace(root=self.dataset.root, file=self.dataset.held_out, format=self.dataset.held_out_format)


class Guard(BaseModel):
    """A guard set: its rows, and the fingerprint of their content."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: RowsPlace
    fingerprint: str


class EvaluateArgs(Comparison):
    """the pictures of ``examples`` rows are in the report itself; ``normalise`` says what is made equal in texts.

    ``guards`` are sets that no training may unlearn, by name.
    """

    examples: int
    guards: dict[str, Guard] = Field(default_factory=dict)
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
        if self.guards:
            how["guards"] = {name: guard.fingerprint for name, guard in self.guards.items()}
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
    rows, held_out = rows_of_all(args, args.rows_place, context)
    chosen = reader_for(args, [args.named(which) for which in args.models], rows, context)
    read_by = args.by(chosen["backend"])
    guards = {name: rows_of_all(args, guard.rows, context) for name, guard in args.guards.items()}
    found: dict[Which, list[Answer]] = {}
    guarded: dict[str, dict[Which, list[Answer]]] = {name: {} for name in guards}
    for which in args.models:  # each is loaded once
        with Answering(read_by, context, args.named(which)) as asked:
            found[which] = asked.answers(rows)
            for name, (guard, _) in guards.items():
                guarded[name][which] = asked.answers(guard)
    texts, cut = _said(found)
    heard = judge(rows, texts, args.normalise, cut)
    result = compare(heard)
    if guards:
        result["guards"] = {name: _guarded(*guards[name], guarded[name], args.normalise) for name in guards}
    result["name"], result["seconds"], result["finished"] = training["name"], time.time() - started, time.time()
    result["held_out"], result["max_new_tokens"] = held_out, args.max_new_tokens
    result["read_by"] = chosen
    result["folder"] = folder.relative_to(context.volumes.outputs).as_posix()
    result["args"] = args.model_dump(mode="json")
    result["row_keys"] = decisions.sketch(row.key() for row in rows)
    outputs = context.volumes.outputs
    result["judged_before"] = decisions.judged_before(outputs, training["name"], args.identity, result["row_keys"])
    said = [json.dumps(line, ensure_ascii=False) + "\n" for line in heard.lines()]
    records.write_text(folder / "predictions.jsonl", "".join(said))
    page = folder / "report.html"
    result["pictures"] = write_report(page, result, training, run / "metrics.jsonl", heard, args.examples)
    records.write_json(folder / "report.json", {**result, "training": training})
    every = result["tuned"]["all"]
    scores = {"error": every["error"], "cer": every["cer"], "wer": every["wer"], "ned": every["ned"]}
    scores["exact"] = every["exact"]
    scores = {f"held-out/{metric}": value for metric, value in scores.items()}
    Board(run / EVENTS, training["steps"]).add(training["steps"], scores)
    records.write_record(folder, result)
    context.commit()
    return result


def _said(found: dict[Which, list[Answer]]) -> tuple[dict[Which, list[str]], dict[Which, list[bool]]]:
    """(model → its answers, model → which of them were cut off)."""
    texts = {which: [answer.text for answer in said] for which, said in found.items()}
    return texts, {which: [answer.cut for answer in said] for which, said in found.items()}


def _guarded(rows: Sequence[HeldOutRow], every: int, found: dict[Which, list[Answer]], how: Normalisation) -> Guarded:
    """What the models came to on a guard set of ``every`` rows."""
    texts, cut = _said(found)
    judged = judge(rows, texts, how, cut)
    return Guarded(
        rows=len(rows),
        of_rows=every,
        documents=judged.documents,
        scores={which: judged.table(which) for which in found},
        groups=judged.by_group(),
        differences={which: judged.changes("tuned", which) for which in found if which != "tuned"},
    )


def compare(heard: Heard[Model]) -> Evaluation:
    """Scores of each model in all, by task, by script and by length, and the candidate's (tuned) paired differences."""
    tables = {model: heard.table(model) for model in heard.texts}
    result: Evaluation = {
        "models": list(heard.texts),
        "rows": len(heard.rows),
        "held_out": len(heard.rows),
        "documents": heard.documents,
        "base": tables["base"],
        "tuned": tables["tuned"],
        "groups": heard.by_group(),
        "differences": {model: heard.changes("tuned", model) for model in heard.texts if model != "tuned"},
        "metrics_version": metrics.VERSION,
        "normalise": heard.how.model_dump(),
    }
    if "champion" in tables:
        result["champion"] = tables["champion"]
    return result


EVALUATE = Job("evaluate", EvaluateArgs, evaluate, billed=True)
