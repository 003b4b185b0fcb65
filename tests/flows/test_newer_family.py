"""A base of the newer kind, from a Hub, through the whole flow on the CPU: spotting, JSON and plain rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flows.fine_tune import fine_tune
from runs.results import RunResult
from sft.config import RunConfig, load
from sft.dataset.files import DatasetFiles
from sft.dataset.validate import validate
from sft.notation import spotting
from sft.smoke import digits
from sft.store import records
from tests.support import newer
from tests.support.hub_server import Hub, hub_of

REPOSITORY = "PaddlePaddle/PaddleOCR-VL-1.5"
SUM = "Read the digits as JSON:"
WIDTH, HEIGHT = 168, 56  # px: 12 tokens
SETTINGS = [
    *("dataset.digits=null", "dataset.train=data/train.jsonl", "dataset.held_out=data/held_out.jsonl"),
    *("base_model.source=hub", f"base_model.repo={REPOSITORY}"),
    f"dataset.prompts={{digits: {{prompt: '{SUM}', measure: json, required: [digits]}}}}",
    *("train.max_steps=8", "train.save_steps=8", "train.logging_steps=2", "train.batch_size=4"),
    *("train.max_seq_len=512", "evaluate.max_new_tokens=40", "promote.check_rows=4"),
]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    newer.materialise(folder := tmp_path / "newer")
    with hub_of(REPOSITORY) as serving:
        serving.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        monkeypatch.setenv("HF_ENDPOINT", serving.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield serving


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """A third of the lines of digits stand somewhere on a larger picture, a third are asked for as JSON."""
    rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        text, image = row["text_info"], row["image_info"][0]
        if number % 3 == 0:
            with Image.open(folder / image["image_url"]) as line:
                page, at = Image.new("L", (WIDTH, HEIGHT), 255), (number % 5, number % 28)
                page.paste(line.crop((0, 0, WIDTH - 4, 28)), at)
                x, y, right = *at, min(WIDTH, at[0] + line.width)
                corners = [(x, y), (right, y), (right, y + 28), (x, y + 28)]
            image["image_url"] = f"./{name}/page-{number}.png"
            page.save(folder / image["image_url"])
            text[0]["text"], text[1]["text"] = "Spotting:", spotting.line(text[1]["text"], corners, WIDTH, HEIGHT)
        elif number % 3 == 1:
            text[0]["text"], text[1]["text"] = SUM, json.dumps({"digits": text[1]["text"]})
    return rows


def sft(*arguments: str) -> tuple[int, str]:
    """(exit code, all that it said, in one line) of the command itself."""
    done = subprocess.run([Path(sys.executable).parent / "sft", *arguments], capture_output=True, text=True)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def config(home: Path, hub: Hub) -> RunConfig:
    folder = home / "data"
    digits.write_dataset(folder, train_rows=24, held_out_rows=21, seed=1)
    for name in ("train", "held_out"):
        rows = rows_of(folder, name)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load("smoke", SETTINGS).config


def test_every_task_of_a_newer_base_goes_through_the_flow(
    config: RunConfig, home: Path, hub: Hub, prefect_server: None, one_reader: None, caplog: pytest.LogCaptureFixture
) -> None:
    result = fine_tune(config)
    assert isinstance(result, RunResult)
    found = records.read_json(result.report.with_name("report.json"))
    assert found
    tuned = found["tuned"]
    assert {task: scores["rows"] for task, scores in tuned.items()} == {"all": 21, "ocr": 7, "spotting": 7, "digits": 7}
    assert tuned["spotting"].get("boxes") is not None
    assert tuned["all"]["unreadable"] == 0
    volumes = home / "state" / "volumes"
    assert "training and reading agree token by token on 6 rows" in caplog.text
    report = result.report.read_text()
    assert "boxes F1" in report
    assert "Places on a picture" in report
    base = records.read_record(next((volumes / "models").glob("PaddlePaddle--*")))
    assert base
    assert base["repo"] == REPOSITORY

    page = next((home / "data" / "held_out").glob("page-*.png"))
    arguments = [str(page), "--model", result.identity[:16], "--profile", "smoke"]
    arguments += [part for setting in SETTINGS for part in ("--set", setting)]
    assert sft("infer", *arguments, "--task", "spotting", "--out", "spotted")[0] == 0
    said = json.loads((home / "spotted" / f"{page.stem}.json").read_text())
    assert said["size"] == [WIDTH, HEIGHT]
    assert said["lines"] == [
        {"text": spot.text, "box": [[round(x, 1), round(y, 1)] for x, y in spot.pixels(WIDTH, HEIGHT)]}
        for spot in spotting.parse(said["text"])
    ]
    assert sft("infer", *arguments, "--task", "digits", "--out", "asked")[0] == 0
    assert {"data", "problem"} & set(json.loads((home / "asked" / f"{page.stem}.json").read_text()))


def test_the_base_of_0_9b_refuses_such_rows_before_anything_is_fetched(config: RunConfig, hub: Hub, home: Path) -> None:
    hub.repo = "PaddlePaddle/PaddleOCR-VL"  # that it is there is asked before the rows are looked at
    settings = [*SETTINGS, f"base_model.repo={hub.repo}"]
    code, said = sft("run", "smoke", *(part for s in settings for part in ("--set", s)))
    assert code == 2, said
    assert "error place-token (15 ×)" in said
    assert "base_model.repo" in said
    assert not any(name.startswith("GET") and "safetensors" in name for name in hub.requests)
    files = DatasetFiles.of(home / "data" / "train.jsonl", home / "data" / "held_out.jsonl")
    assert validate(files.train, files.held_out, config.dataset).counts == {}, "and those of 1.5 take them"
