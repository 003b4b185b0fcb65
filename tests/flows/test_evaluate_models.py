"""``sft evaluate`` for real: base, training, checkpoint, folder and repository on the same rows, none read twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import get_current_settings

from compute.local import LocalCompute
from compute.select import compute_for
from flows.evaluate_models import Comparison, evaluate_models
from runs.named_models import stored
from sft.config import load
from sft.errors import InputError, IntegrityError
from sft.jobs.train import TrainArgs
from sft.store import records
from tests.compute.test_local import TINY, wait
from tests.conftest import Dataset
from tests.support.hub_server import hub_of
from tests.support.modal_runs import SFT
from tests.support.runs import short_training

pytestmark = pytest.mark.usefixtures("prefect_server", "one_look")
HOW = ["evaluate.batch_size=4", "evaluate.max_new_tokens=8"]
HELD_OUT = 8


def sft(home: Path, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    own = {"PREFECT_API_URL": str(get_current_settings().api.url), "SFT_HOME": str(home / "state")}
    settings = [part for one in HOW for part in ("--set", one)]
    return subprocess.run(
        [SFT, *args, *settings], cwd=home, env={**os.environ, **own, **variables}, capture_output=True, text=True
    )


def train(home: Path) -> tuple[LocalCompute, TrainArgs]:
    """A training of four steps, with checkpoints after the second and the last."""
    compute = LocalCompute(home / "state")
    wait(compute, compute.start("download_model", TINY))
    args = short_training(compute, held_out=HELD_OUT)
    call = compute.start("train", args.model_dump())
    wait(compute, call)
    compute.result(call)
    return compute, args


def answered(compute: LocalCompute) -> int:
    """How many answers are kept, of all models."""
    files = (compute.volumes.outputs / "predictions").glob("*/*.jsonl")
    return sum(line.startswith('{"row"') for file in files for line in file.read_text().splitlines())


def test_models_from_everywhere_read_the_same_rows_and_none_twice(home: Path) -> None:
    compute, args = train(home)
    identity, model = args.identity[:16], compute.volumes.run(args.identity) / "model"
    rows = str(compute.state / "digits" / "held_out.jsonl")
    shutil.copytree(model, home / "mine")
    asked = ["base", identity, f"{identity}/checkpoint-4", f"{identity}/checkpoint-2", "./mine", rows]
    done = sft(home, "evaluate", *asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("than base") == len(asked) - 2
    (report,) = (home / "models" / "evaluations").glob("held_out-*/report.html")
    assert str(report) in done.stdout
    record: dict[str, Any] = json.loads((report.parent / "report.json").read_text())
    assert record["models"] == asked[:-1]
    assert record["rows"] == record["of_rows"] == HELD_OUT
    assert set(record["differences"]) == set(asked[1:-1]), "each is compared with the first"
    said = [json.loads(line) for line in (report.parent / "predictions.jsonl").read_text().splitlines()]
    by_model = {name: [line[name] for line in said] for name in record["models"]}
    assert by_model[identity] == by_model["./mine"] == by_model[f"{identity}/checkpoint-4"], "the same weights"
    assert by_model[f"{identity}/checkpoint-2"] != by_model[identity]
    assert next(line["truth"] for line in said).isdigit()
    # The folder's model is the training's: its answers were kept when it was the folder's turn.
    assert answered(compute) == 4 * HELD_OUT
    page = report.read_text()
    assert all(name in page for name in record["models"])
    assert "<h2>Differences to base, row by row</h2>" in page

    with hub_of("team/receipts") as hub:
        hub.files = {path.name: path.read_bytes() for path in model.iterdir()}
        done = sft(
            home, "evaluate", "team/receipts", "base", "held-out", "--set", f"dataset.train={rows}", HF_ENDPOINT=hub.url
        )
        assert done.returncode == 2, "train and held-out are one file, and digits compose their own"
        done = sft(home, "evaluate", "team/receipts", "base", rows, HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    assert "team/receipts: 17 MB, " in done.stdout
    assert answered(compute) == 4 * HELD_OUT, "the repository's model is the training's, too"

    # The same again: nothing is started. In other hands the whole is one flow run, whose state says what came of it.
    calls = len(list(compute.calls.iterdir()))
    state = evaluate_models(["base", identity], rows, load("smoke", HOW).config, return_state=True)
    again = evaluate_models(["base", identity], rows, load("smoke", HOW).config)
    assert isinstance(again, Comparison)
    assert len(list(compute.calls.iterdir())) == calls + 1, "one comparison of answers that are kept"
    assert "than base" in str(state.message)
    assert answered(compute) == 4 * HELD_OUT
    refuse_what_is_not_whole(compute, home, args.identity, rows)


def refuse_what_is_not_whole(compute: LocalCompute, home: Path, identity: str, rows: str) -> None:
    run = compute.volumes.run(identity)
    (weights,) = (run / "trainer" / "checkpoint-2").glob("model*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x99")
    with pytest.raises(IntegrityError, match=r"checkpoint-2 model is damaged.*its sha256 differs"):
        evaluate_models([f"{identity}/checkpoint-2"], rows, load("smoke", [*HOW, "evaluate.max_rows=4"]).config)
    (run / "trainer" / "checkpoint-2" / "checkpoint_manifest.json").unlink()
    with pytest.raises(IntegrityError, match="checkpoint-2 is not finished"):
        evaluate_models([f"{identity}/checkpoint-2"], rows, load("smoke", [*HOW, "evaluate.max_rows=5"]).config)


def test_what_is_wrong_is_said_of_all_models_at_once(home: Path, dataset: Dataset) -> None:
    rows = str(dataset.write("rows.jsonl", [dataset.row(dataset.image("1.png"))]))
    (home / "other").mkdir()
    (home / "other" / "config.json").write_text('{"model_type": "llama"}')
    (home / "torn").mkdir()
    (home / "torn" / "config.json").write_text('{"model_type": "paddleocr_vl"}')
    (home / "torn" / "model.safetensors").write_bytes(b"\x00")
    done = sft(home, "evaluate", "base", "base", "m!", "./other", "./torn", "./nowhere", "rows.jsonl")
    assert done.returncode == 2
    for said in (
        *("no model is called so (found m!)", "a model is named twice (found base)"),
        *("config.json: the folder's model is no PaddleOCR-VL (found llama)", "rows.jsonl: the dataset file does not"),
        *("tokenizer_config.json is missing", "nowhere: no model's folder"),
    ):
        assert said in done.stderr
    done = sft(home, "evaluate", "champion", "feed" * 4, "beef" * 4 + "/checkpoint-2", rows)
    assert done.returncode == 2
    for said in (
        "there is no champion yet",
        "no finished training of that identity (found feedfeed",
        "no such checkpoint",
    ):
        assert said in done.stderr
    assert not (home / "models").exists()
    broken = dataset.write("broken.jsonl", [dataset.row("./none.png")])
    done = sft(home, "evaluate", "base", str(broken))
    assert (done.returncode, "broken.jsonl:1" in done.stderr) == (2, True), done.stderr
    with pytest.raises(InputError, match="no model is called so"):
        evaluate_models(["base", "x!"], rows, load("smoke").config)


def test_a_folder_that_changes_is_another_model(home: Path) -> None:
    """What was asked for is what is read: a folder comes to the volume by its content."""
    config = load("smoke").config
    compute = compute_for(config)
    folder = home / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    first = stored("mine", folder, compute)
    assert stored("mine", folder, compute) == first
    (folder / "config.json").write_text('{"a": 1}')
    second = stored("mine", folder, compute)
    assert first != second
    volume = home / "state" / "volumes" / "models"
    assert (volume / first / "config.json").read_text() == "{}"
    assert records.read_record(volume / second)
