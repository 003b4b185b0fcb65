"""The evaluation report: one self-contained HTML page, and the loss curve as SVG."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sft import metrics, records
from sft.dropped import describe
from sft.pictures import open_as_seen
from sft.report.curve import loss_curve

if TYPE_CHECKING:
    from sft.jobs.predict import HeldOutRow

THUMBNAIL = 480  # px: longest side of an example's picture

__all__ = ["loss_curve", "picture", "read_metrics", "render", "write_report"]


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
    result: dict[str, Any],
    training: dict[str, Any],
    metrics_file: Path,
    rows: Sequence[HeldOutRow],
    texts: dict[str, list[str]],
    examples: int,
) -> None:
    """Write the page: scores, curve, and example rows side by side, the worst of the tuned model first.

    Args:
        texts: model → its answers in the order of the rows.
    """
    tuned = texts["tuned"]
    worst = sorted(range(len(rows)), key=lambda i: (-metrics.ned(rows[i].truth, tuned[i]), i))[:examples]
    shown = [
        {
            "picture": picture(rows[i].image),
            "truth": rows[i].truth,
            "answers": [
                (said[i], metrics.normalise(said[i]) == metrics.normalise(rows[i].truth)) for said in texts.values()
            ],
            "task": rows[i].task,
            "number": rows[i].number,
        }
        for i in worst
    ]
    curve = loss_curve(read_metrics(metrics_file))
    left_out = describe(training.get("left_out", {}))
    html = render("report.html.jinja", result=result, training=training, curve=curve, examples=shown, left_out=left_out)
    records.write_text(path, html)


def render(template: str, *, escape: bool = True, **values: Any) -> str:
    """A page of this folder's template; a name that is missing is an error, and text is escaped as in HTML."""
    folder = Path(__file__).parent
    environment = Environment(loader=FileSystemLoader(folder), autoescape=escape, undefined=StrictUndefined)
    return environment.get_template(template).render(**values)


def picture(path: Path) -> str:
    """A data URI of the image, scaled down to at most 480 px."""
    small = open_as_seen(path)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
