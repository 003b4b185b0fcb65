import json
from pathlib import Path
from typing import Any

from PIL import Image

from sft.jobs.evaluate import compare
from sft.metrics import Normalisation
from sft.models.heard import judge
from sft.models.held_out import HeldOutRow
from sft.report import loss_curve, put_export, read_metrics, write_report
from sft.store.contents import Export, Model

TRAINING: Any = {
    "identity": "i" * 64,
    "dataset": "d" * 64,
    "base_model": "base",
    "steps": 2,
    "engine": "paddleformers",
    "engine_version": "1.2.0",
    "seconds": 1.0,
    "resumed_from": None,
    "loss": 0.5,
}


def test_the_page_shows_the_worst_first_and_escapes_what_was_read(tmp_path: Path) -> None:
    rows = []
    for number, truth in enumerate(["12", "34", "<b>&"]):
        Image.new("RGBA", (900, 30)).save(tmp_path / f"{number}.png")
        rows.append(HeldOutRow(number, (tmp_path / f"{number}.png",), "OCR:", truth, "ocr"))
    base, tuned = ["", "34", "x"], ["12", "99", "<script>alert(1)</script>"]
    texts: dict[Model, list[str]] = {"base": base, "tuned": tuned}
    heard = judge(rows, texts, Normalisation())
    result = compare(heard)
    result["name"] = "n"
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n{"step": 3, "lo')
    page = tmp_path / "report.html"
    write_report(page, result, TRAINING, tmp_path / "metrics.jsonl", heard, examples=2)
    assert "passes over" not in page.read_text(), "a training of before knows nothing of it"
    left_out = {"rows": 9, "passes": 1.98, "times": 3, "why": {"longer than <max>": 3}}
    training: Any = {**TRAINING, "left_out": left_out}
    assert write_report(page, result, training, tmp_path / "metrics.jsonl", heard, examples=2) == 1
    html = page.read_text()
    assert "1.98 passes over 9 rows, 3 times the trainer left out one of 9 rows: longer than &lt;max&gt; (3 ×)" in html
    assert "<script>alert" not in html
    assert '"truth":"\\u003cb>&"' in html
    shown = json.loads(html.partition('id="rows">')[2].partition("</script>")[0])["rows"]
    assert [row["row"] for row in shown] == [1, 2, 0], "two are wholly wrong: in the file's order"
    assert shown[2]["said"]["base"]["steps"] == [[0, 2, 0]]
    inside = json.loads(html.partition('id="pictures">')[2].partition("</script>")[0])
    beside = (tmp_path / "pictures" / "1.js").read_text()
    assert (list(inside), shown[2]["pictures"]) == (["1", "2"], 1), "pictures of the two worst were asked for"
    assert beside.startswith('sftPictures(1, {"0":["data:image/png;base64,')
    assert "percentage points, 95 % interval" in html
    assert "By length" not in html, "all rows are of one class"
    assert "<h3>By script" in html, "digits and letters"

    (tmp_path / "report.json").write_text('{"name": "n"}')
    checked: Export = {"problems": [], "rows": 3, "equal": 3, "transformers": {"unchecked": "run make torch"}}
    put_export(tmp_path, checked)
    second: Any = {"rows": 3, "equal": 2, "versions": {"torch": "2", "transformers": "5"}, "device": "cpu", "other": []}
    put_export(tmp_path, {**checked, "problems": ["<gone>"], "transformers": second})
    put_export(tmp_path, {**checked, "transformers": second})
    said = "The saved model: loads in a new process, 3 of 3 answers reproduced; by transformers 5, torch 2: 2 of 3"
    assert page.read_text().count("The saved model") == page.read_text().count(said) == 1, "the newest check alone"
    assert json.loads((tmp_path / "report.json").read_text())["export"]["transformers"] == second


def test_a_torn_last_line_of_the_metrics_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step"')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]
    assert read_metrics(tmp_path / "none") == []


def test_the_curve_spans_the_plot() -> None:
    svg = loss_curve([{"step": 0, "loss": 2.0}, {"step": 100, "loss": 1.0}])
    assert 'points="48.0,' in svg
    assert " 628.0," in svg
    loss_curve([])
