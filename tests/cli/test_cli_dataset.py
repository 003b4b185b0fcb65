"""The dataset commands, as a person would chain them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from tests.cli.test_cli import sft
from tests.conftest import Dataset


def test_from_a_folder_of_scans_to_two_files_that_can_be_trained_on(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for document in range(30):
        for page in range(2):
            path = scans / f"doc{document}-{page}.png"
            Image.new("L", (560, 280), document).save(path)
            path.with_suffix(".md").write_text(f"document {document}, page {page}")
    done = sft("import", "scans", "all.jsonl", cwd=tmp_path)
    assert done.stdout == "all.jsonl: 60 rows\n", done.stderr
    (scans / "later.pdf").write_bytes(b"%PDF-")
    Image.new("L", (56, 28)).save(scans / "later.png")
    refused = sft("import", "scans", "more.jsonl", cwd=tmp_path)
    assert (refused.returncode, "leave them out with --skip" in refused.stderr) == (2, True)
    more = sft("import", "scans", "more.jsonl", "--skip", "--task", "formula", cwd=tmp_path)
    assert "1 × .pdf files: pdftoppm" in more.stdout, more.stderr
    assert "1 × skipped" in more.stdout
    assert "more.jsonl: 60 rows" in more.stdout
    cut = sft("split", "all.jsonl", "--held-out", "0.2", cwd=tmp_path)
    assert "all.train.jsonl" in cut.stdout, cut.stderr
    assert "below 20 a score says little" in cut.stdout
    good = sft("validate", "all.train.jsonl", "--held-out", "all.held_out.jsonl", "--report", "page.html", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    assert good.stdout.count(": valid") == 2
    html = (tmp_path / "page.html").read_text()
    assert "No errors." in html
    assert html.count('<img src="data:image/png;base64,') == 12
    assert html.count("<svg") == 8, "four histograms for each file"
    told = json.loads(sft("validate", "all.jsonl", "--json", cwd=tmp_path).stdout)
    assert (told["train"]["rows"], told["train"]["tasks"]) == (60, {"ocr": 60})
    assert told["train"]["image_tokens"] == 60 * 200, "560 × 280 px: 20 × 10 tokens"
    other = sft("convert", "all.jsonl", "chat.jsonl.gz", "--to", "messages", cwd=tmp_path)
    assert other.stdout == "chat.jsonl.gz: 60 rows in format messages\n", other.stderr
    assert "format messages: valid" in sft("validate", "chat.jsonl.gz", cwd=tmp_path).stdout


def test_a_page_names_every_finding_and_escapes_it(tmp_path: Path) -> None:
    Image.new("L", (56, 28)).save(tmp_path / "a.png")
    rows: list[Any] = [
        {"image_info": [{"image_url": "<script>alert(1)</script>.png"}], "text_info": []},
        {
            "image_info": [{"image_url": "a.png"}],
            "text_info": [{"text": "OCR:", "tag": "mask"}, {"text": "<b>", "tag": "no_mask"}],
        },
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bad = sft("validate", "x.jsonl", "--report", "page.html", cwd=tmp_path)
    assert bad.returncode == 2
    page = (tmp_path / "page.html").read_text()
    assert "x.jsonl:1" in page
    assert "errors: nothing is trained on it" in page
    assert "<script>" not in page
    assert "&lt;b&gt;" in page


def test_rules_and_modes_of_validate(tmp_path: Path) -> None:
    row = {
        "image_info": [{"image_url": "none.png"}],
        "text_info": [{"text": "OCR:", "tag": "mask"}, {"text": "—", "tag": "no_mask"}],
    }
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    assert sft("validate", "x.jsonl", cwd=tmp_path).returncode == 2
    texts = sft("validate", "x.jsonl", "--images", "none", cwd=tmp_path)
    assert texts.returncode == 0
    assert "warning near-empty" in texts.stdout
    raised = sft("validate", "x.jsonl", "--images", "none", "--rule", "near-empty=error", cwd=tmp_path)
    assert raised.returncode == 2
    asked = {"text": "Read the invoice as JSON:", "tag": "mask"}, {"text": '{"total": 1}', "tag": "no_mask"}
    (tmp_path / "own.jsonl").write_text(json.dumps({**row, "text_info": asked}) + "\n")
    prompt = {"prompt": "Read the invoice as JSON:", "measure": "json", "required": ["total", "date"]}
    dataset = {
        "train": "own.jsonl",
        "held_out": "own.jsonl",
        "prompts": {"invoice": prompt},
        "rules": {"near-empty": "error"},
    }
    mine = {
        "name": "mine",
        "compute": "local",
        "engine": "transformers",
        "dataset": dataset,
        "train": {"max_seq_len": 512},
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(mine))
    alone = sft("validate", "own.jsonl", "--images", "none", cwd=tmp_path)
    assert (alone.returncode, "warning prompt" in alone.stdout) == (0, True), alone.stdout
    judged = sft("validate", "own.jsonl", "--images", "none", "--profile", "mine.yaml", cwd=tmp_path)
    assert (judged.returncode, "error json-keys" in judged.stderr) == (2, True), judged.stderr
    assert sft("validate", "x.jsonl", "--images", "none", "--profile", "mine.yaml", cwd=tmp_path).returncode == 2
    lower = ("--rule", "near-empty=warning", "--profile", "mine.yaml")
    assert sft("validate", "x.jsonl", "--images", "none", *lower, cwd=tmp_path).returncode == 0
    nobody = sft("validate", "x.jsonl", "--profile", "nosuch", "--rule", "near-emty=error", cwd=tmp_path)
    assert nobody.returncode == 2
    assert "nosuch" in nobody.stderr
    assert "near-emty" in nobody.stderr, "all that is wrong, at once"
    wrong = sft("validate", "x.jsonl", "--rule", "near-emty=error", cwd=tmp_path)
    assert (wrong.returncode, "perhaps 'near-empty'" in wrong.stderr) == (2, True)


ASKED = [{"text": "Which number?", "tag": "mask"}, {"text": "7", "tag": "no_mask"}]


def test_a_file_on_the_data_volume_is_split_there(tmp_path: Path) -> None:
    pages = tmp_path / "state" / "volumes" / "data" / "pages"
    data = Dataset(pages)
    data.write("all.jsonl", [data.row(f"./doc{n // 2}/{n}.png", str(n)) for n in range(80)])
    there = sft("split", "volume://pages/all.jsonl", "--held-out", "0.3", "--profile", "smoke", cwd=tmp_path)
    assert there.returncode == 0, there.stderr
    assert "volume://pages/all.train.jsonl: " in there.stdout
    shutil.copy(pages / "all.jsonl", tmp_path / "all.jsonl")
    sft("split", "all.jsonl", "--held-out", "0.3", cwd=tmp_path)
    for name in ("all.train.jsonl", "all.held_out.jsonl"):
        assert (pages / name).read_bytes() == (tmp_path / name).read_bytes()
    again = sft("split", "volume://pages/all.jsonl", "--profile", "smoke", cwd=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr
    own = [{**data.row(f"./doc{n}/a.png", str(n)), "text_info": ASKED} for n in range(20)]
    data.write("own.jsonl", own)
    shutil.copy(pages / "own.jsonl", tmp_path / "own.jsonl")
    prompts = {"number": {"prompt": "Which number?"}}
    dataset = {"train": "own.train.jsonl", "held_out": "own.held_out.jsonl", "prompts": prompts}
    mine = {"name": "mine", "compute": "local", "engine": "transformers", "train": {"max_seq_len": 512}}
    (tmp_path / "mine.yaml").write_text(json.dumps({**mine, "dataset": dataset}))
    for name in ("own.jsonl", "volume://pages/own.jsonl"):
        counted = sft("split", name, "--held-out", "0.3", "--profile", "mine.yaml", cwd=tmp_path)
        assert counted.returncode == 0, counted.stderr
        assert "(number " in counted.stdout, "by its name, and not as other"
        assert "other" not in counted.stdout
    missing = sft("split", "volume://pages/nosuch.jsonl", "--profile", "smoke", cwd=tmp_path)
    assert missing.returncode == 2
    assert "no such file on the data volume" in missing.stderr
