"""The evaluation report: one self-contained HTML page, and the loss curve as SVG."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import ImageDraw

from sft import metrics
from sft.dataset.dropped import describe
from sft.dataset.pictures import open_as_seen
from sft.metrics import fields
from sft.metrics.gate import Rule, reproduced
from sft.notation import spotting
from sft.report.curve import loss_curve
from sft.store import records, reported
from sft.store.contents import Evaluation, Export, Model, Scored, Training
from sft.store.decisions import doubt
from sft.store.proofs import ReadBy

if TYPE_CHECKING:
    from sft.models.held_out import HeldOutRow

THUMBNAIL = 480  # px: longest side of an example's picture
TRUE, SAID = "#198754", "#dc3545"  # colours of places
M = TypeVar("M", bound=str)  # what models are called

__all__ = ["loss_curve", "picture", "put_export", "read_metrics", "render", "words", "write_report"]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The progress lines of a training (metrics.jsonl); a torn last line is left out."""
    points = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            points.append(json.loads(line))
        except ValueError:
            continue
    return points


def write_report(
    path: Path,
    result: Evaluation,
    training: Training,
    metrics_file: Path,
    rows: Sequence[HeldOutRow],
    texts: dict[Model, list[str]],
    examples: int,
    cut: dict[Model, list[bool]] | None = None,
) -> None:
    """Write the page: scores, curve, and example rows side by side, the worst of the tuned model first.

    Args:
        texts: model → its answers in the order of the rows.
        cut: model → which of them were cut off.
    """
    shown, has_places = shown_rows(rows, texts, "tuned", examples, cut)
    chosen = training.get("chosen")
    curve = loss_curve(read_metrics(metrics_file), chosen["scores"] if chosen else ())
    read = reading(result.get("read_by"))
    facts: dict[str, Any] = {"result": result, "training": training, "reading": read}
    facts["remarks"] = [remark for remark in remarks(result) if remark != read]  # it is no warning
    facts["spotting"] = has_places
    facts["left_out"] = describe(training.get("left_out"))
    page = render("report.html.jinja", curve=curve, examples=shown, **facts)
    records.write_text(path, page)


def shown_rows(
    rows: Sequence[HeldOutRow],
    texts: Mapping[M, Sequence[str]],
    of: M,
    examples: int,
    cut: Mapping[M, Sequence[bool]] | None = None,
) -> tuple[list[dict[str, Any]], bool]:
    """(rows as the pages show them, the worst of the model ``of`` first; does one of them have places?)."""
    said_worst = texts[of]
    worst = sorted(range(len(rows)), key=lambda i: (-metrics.ned(rows[i].truth, said_worst[i]), i))[:examples]
    shown = [
        {
            "pictures": [*(picture(path) for path in rows[i].shown[:-1]), _pointed(rows[i], said_worst[i])],
            "truth": words(rows[i].truth, rows[i].measure),
            "answers": [
                (words(said[i], rows[i].measure), _right(rows[i], said[i]), bool(cut and cut[model][i]))
                for model, said in texts.items()
            ],
            "task": rows[i].task,
            "number": rows[i].number,
            "turn": len(rows[i].earlier) + 1,
        }
        for i in worst
    ]
    return shown, any(rows[i].measure == "spotting" for i in worst)


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


def words(text: str, measure: str) -> str:
    """An answer for people: of spotting the texts alone, as a picture shows their places."""
    return "\n".join(spot.text for spot in spotting.parse(text)) if measure == "spotting" else text


def _right(row: HeldOutRow, said: str) -> bool:
    if row.measure == "json":
        return fields.same(row.truth, said)
    return metrics.normalise(said) == metrics.normalise(row.truth)


def _pointed(row: HeldOutRow, said: str) -> str:
    """The row's last picture; of spotting with the places of the truth in green and those of the answer in red."""
    path = row.shown[-1]
    if row.measure != "spotting":
        return picture(path)
    return picture(path, [(spotting.parse(row.truth), TRUE), (spotting.parse(said), SAID)])


def picture(path: Path, places: Sequence[tuple[Sequence[spotting.Spot], str]] = ()) -> str:
    """A data URI of the image, scaled down to at most 480 px.

    Args:
        places: what is outlined on it, and in which colour; then it has up to 960 px.
    """
    small = open_as_seen(path)
    if places and small.mode != "RGB":
        small = small.convert("RGB")
    size = THUMBNAIL * (2 if places else 1)
    small.thumbnail((size, size))
    for spots, colour in places:
        draw = ImageDraw.Draw(small)
        for spot in spots:
            if spot.box:
                corners = spot.pixels(*small.size)
                draw.line([*corners, corners[0]], fill=colour, width=2)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
