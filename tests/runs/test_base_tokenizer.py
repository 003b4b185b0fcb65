"""Validation counts with the base model's own tokenizer before the model lies on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compute.local import LocalCompute
from runs.dataset import limits_for
from sft.config import load
from sft.dataset.validate import validate
from sft.smoke import tiny
from sft.store.volumes import Volumes
from tests.conftest import Dataset
from tests.support.hub_server import hub_of

REPO = "PaddlePaddle/PaddleOCR-VL"
BODY = """
import sys
from pathlib import Path
from compute.local import LocalCompute
from sft.config import load
from runs.dataset import limits_for
config = load("full", ["dataset.train=a", "dataset.held_out=b", *sys.argv[2:]]).config
limits = limits_for(config, LocalCompute(Path(sys.argv[1])), print)
print("OUT", limits.exact, limits.max_pixels, limits.enlarges, limits.text_tokens("77777"))
"""


def asked(home: Path, endpoint: str) -> str:
    variables = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hub"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", BODY, str(home / "state")]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert "OUT" in done.stdout, done.stderr
    return done.stdout


def test_the_hubs_tokenizer_is_fetched_once_and_without_the_weights(home: Path) -> None:
    tiny.write_model_files(home)
    with hub_of(REPO) as hub:
        hub.files = {name: (home / name).read_bytes() for name in ("tokenizer.json", "preprocessor_config.json")}
        hub.files["model.safetensors"] = bytes(5000)
        assert f"OUT True {tiny.MAX_PIXELS} 1.0 5" in asked(home, hub.url)
        assert not any("model.safetensors" in path for path in hub.requests)
    assert f"OUT True {tiny.MAX_PIXELS} 1.0 5" in asked(home, hub.url), "the Hub is gone, the files are here"


def test_without_the_hub_rows_are_counted_by_their_bytes_and_it_is_said(home: Path) -> None:
    said = asked(home, "http://127.0.0.1:9")
    assert "OUT False 2822400 1.0 2" in said
    assert "rows are counted by their bytes" in said
    assert not list((home / "state" / "tokenizers").glob("[!.]*")), "the next run asks again"


@pytest.mark.parametrize(("length", "errors"), [(470, 0), (500, 1)])
def test_a_row_too_long_is_an_error_before_the_tiny_base_lies_here(
    home: Path, dataset: Dataset, length: int, errors: int
) -> None:
    rows = [dataset.row(dataset.image(f"{i}.png", i), "7" * (5 if i else length)) for i in range(4)]
    train, held_out = dataset.write("t.jsonl", rows[:3]), dataset.write("h.jsonl", rows[3:])
    config = load("smoke").config
    report = validate(train, held_out, config.dataset, limits_for(config, LocalCompute(home / "state")))
    assert (report.errors, report.counts["tokens"]) == (errors, errors)
    assert not list(Volumes.below(home / "state" / "volumes").models.glob("[!.]*"))
