"""The evaluation report: one self-contained HTML page, and the loss curve as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sft.dataset.dropped import describe
from sft.metrics.gate import Rule, reproduced
from sft.models.heard import Heard
from sft.report.curve import loss_curve
from sft.report.instrument import write_instrument
from sft.store import records, reported
from sft.store.appended import entries
from sft.store.contents import Evaluation, Export, Model, Scored, Training
from sft.store.decisions import doubt
from sft.store.proofs import ReadBy

__all__ = ["loss_curve", "put_export", "read_metrics", "render", "write_report"]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The progress lines of a training (metrics.jsonl); a torn last line is left out."""
    return list(entries(path.read_bytes())) if path.exists() else []


def write_report(
    path: Path, result: Evaluation, training: Training, metrics_file: Path, heard: Heard[Model], examples: int
) -> int:
    """Write the page: scores, curve, and the rows to look through, the worst of the tuned model first.

    Args:
        examples: rows whose pictures are in the page itself, at most.
    Returns: how many scripts of pictures lie beside it (see :mod:`sft.report.instrument`).
    """
    rows, scripts = write_instrument(path.parent, heard, "tuned", heard.models[0], examples)
    chosen = training.get("chosen")
    curve = loss_curve(read_metrics(metrics_file), chosen["scores"] if chosen else ())
    read = reading(result.get("read_by"))
    facts: dict[str, Any] = {"result": result, "training": training, "reading": read, "rows": rows}
    facts["remarks"] = [remark for remark in remarks(result) if remark != read]  # it is no warning
    facts["spotting"] = heard.has_places
    facts["left_out"] = describe(training.get("left_out"))
    records.write_text(path, render("report.html.jinja", curve=curve, **facts))
    return scripts


def put_export(folder: Path, export: Export) -> None:
    """Put the record of the job check_export into the report of an evaluation's folder, in the place of an earlier one.

    Args:
        folder: has report.html and report.json.
    """
    words = "; ".join(export["problems"]) or reproduced(export)
    reported.put(folder, reported.EXPORT, f"The saved model: {words}", export=export)


def remarks(result: Evaluation, confidence: float = Rule().confidence) -> list[str]:
    """What whoever reads the scores has to know: rows that were left out, answers cut off, truths that say nothing.

    Args:
        result: the record of the job evaluate, also an older one.
        confidence: share of the draws that the gate asks for.
    """
    rows = result["rows"]
    totals = {model: result[model]["all"] for model in result["models"]}
    every, documents = result.get("held_out", rows), result.get("documents", rows)
    said = remarks_on(totals, rows, every, documents, result.get("max_new_tokens", "?"))
    often = doubt(result.get("judged_before", 0), confidence)
    return [*said, *filter(None, (often, reading(result.get("read_by"))))]


def remarks_on(
    totals: Mapping[Any, Scored], rows: int, every: int, documents: int, max_new_tokens: int | str
) -> list[str]:
    """The same of any models.

    Args:
        totals: model → its scores on all rows.
        every: how many rows there are, of which so many ``rows`` were read.
    """
    said = []
    if rows < every:
        said.append(
            f"{rows} of {every} held-out rows were read, a sample that keeps the shares of tasks, scripts and "
            "lengths: evaluate.max_rows reads more"
        )
    if documents < rows:
        said.append(
            f"the {rows} rows come from {documents} documents: intervals and the gate draw documents, as all rows of a "
            "page are one witness"
        )
    for model, scores in totals.items():
        if cut := scores.get("cut", 0):
            said.append(
                f"{cut} of {rows} answers of {model} were cut off at {max_new_tokens} tokens, and "
                "count as they are: raise evaluate.max_new_tokens, unless they repeat themselves"
            )
    if unreadable := max(scores.get("unreadable", 0) for scores in totals.values()):
        said.append(
            f"{unreadable} truths cannot be read by their task's measure, and count as wrong for every model: "
            "sft validate names them"
        )
    return said


def reading(chosen: ReadBy | None) -> str:
    """What has read the rows, where another backend did, or was compared and did not; else empty."""
    if chosen is None or (chosen["backend"] == "paddleformers" and not chosen["proofs"]):
        return ""
    return f"all models were read by {chosen['backend']}: {chosen['why']}"


def render(template: str, *, escape: bool = True, **values: Any) -> str:
    """A page of this folder's template; a name that is missing is an error, and text is escaped as in HTML."""
    folder = Path(__file__).parent
    environment = Environment(loader=FileSystemLoader(folder), autoescape=escape, undefined=StrictUndefined)
    return environment.get_template(template).render(**values)
