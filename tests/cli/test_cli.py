"""The command line as a person meets it: one clear message, the right exit code, nothing changed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import get_current_settings

from cli.planning import cost_estimate
from compute.local import LocalCompute
from runs.ledger import Entry
from sft.config import load
from sft.store import records
from tests.conftest import Dataset

SFT = str(Path(sys.executable).with_name("sft"))


def sft(*args: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "SFT_HOME": str(cwd / "state"), "PYTHONWARNINGS": "ignore"}
    return subprocess.run([SFT, *args], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "smok"], "unknown profile (found smok). Next: did you mean smoke?"),
        (
            ["run", "smoke", "--set", "train.learning_rate=-1"],
            "train.learning_rate: Input should be greater than 0 (found -1)",
        ),
        (
            ["run", "smoke", "--set", "train.learnin_rate=1"],
            "train.learnin_rate: no such key; did you mean learning_rate?",
        ),
        (["validate", "none.jsonl"], "none.jsonl: the dataset file does not exist"),
        (["validate", "empty.jsonl"], "empty.jsonl: the dataset file is empty"),
        (["validate", "broken.jsonl"], "broken.jsonl:2: found "),
        (["plan", "smok"], "did you mean smoke?"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(tmp_path: Path, args: list[str], said: str) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    data = Dataset(tmp_path)
    data.write("broken.jsonl", [data.row(data.image("a.png")), b"{"])
    process = sft(*args, cwd=tmp_path)
    assert process.returncode == 2, process.stdout + process.stderr
    assert said in process.stderr
    assert process.stderr.count("error:") == 1
    assert "Traceback" not in process.stdout + process.stderr
    assert not (tmp_path / "state" / "calls").exists(), "a job was started"


@pytest.mark.usefixtures("prefect_server")
def test_a_run_with_a_broken_dataset_is_one_message_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", str(get_current_settings().api.url))
    data = Dataset(tmp_path)
    data.write("held.jsonl", [data.row(data.image("a.png"))])
    data.write("train.jsonl", [data.row("missing.png"), data.row("../outside.png")])
    files = ["dataset.train=train.jsonl", "dataset.held_out=held.jsonl", "dataset.digits=null"]
    process = sft("run", "smoke", *[part for setting in files for part in ("--set", setting)], cwd=tmp_path)
    assert process.returncode == 2, process.stdout + process.stderr
    assert process.stderr.count("error:") == 1
    assert "train.jsonl:1: found missing.png" in process.stderr
    assert "train.jsonl:2: found ../outside.png" in process.stderr
    assert "Traceback" not in process.stdout + process.stderr
    assert not (tmp_path / "state" / "calls").exists(), "a job was started"


def test_a_good_file_is_valid_with_its_facts(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.write("good.jsonl", [data.row(data.image("a.png"))])
    process = sft("validate", "good.jsonl", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert "good.jsonl: 1 rows (ocr 1), 1 images, format erniekit: valid" in process.stdout


def test_a_plan_changes_nothing_and_names_the_steps(tmp_path: Path) -> None:
    process = sft("plan", "smoke", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    for step in ("validate-dataset", "ensure-wheel", "ensure-base-model", "train", "sync-checkpoint", "evaluate"):
        assert step in process.stdout
    assert "520 steps" in process.stdout
    assert not (tmp_path / "state" / "datasets").exists()


def test_status_without_any_run(tmp_path: Path) -> None:
    process = sft("status", cwd=tmp_path)
    assert process.returncode == 0, process.stderr


def test_help_history_and_status_import_neither_prefect_nor_paddle() -> None:
    body = (
        "import sys, json; import cli.run, cli.history, cli.status\n"
        "print(json.dumps([m for m in ('prefect', 'paddle', 'modal') if m in sys.modules]))"
    )
    process = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True)
    assert json.loads(process.stdout) == []


def test_the_plan_says_what_a_training_like_the_last_one_would_cost(home: Path) -> None:
    entry = Entry(
        id="a", name="x", started=0, engine="paddleformers", gpu="cpu", steps=100, trained=True, training_seconds=36
    )
    LocalCompute(home / "state").volumes.make()
    records.write_json(home / "state" / "volumes" / "outputs" / "ledger" / "a.json", entry.model_dump())
    config = load("smoke", ["budget.prices={cpu: 2}", "budget.prices_as_of=2026-11-01"]).config
    told = cost_estimate(config, LocalCompute(home / "state"), 50_000)
    assert told.startswith("about 5 h, 10.00 USD, prices of 2026-11-01")
    bounded = load("smoke", ["budget.prices={cpu: 2}", "budget.max_cost_per_month=30"]).config
    assert cost_estimate(bounded, LocalCompute(home / "state"), 50_000).endswith("; this month 0.00 of 30 USD")
    other = load("smoke", ["engine=paddleformers"]).config
    assert "USD" not in cost_estimate(other, LocalCompute(home / "state"), 50_000)
