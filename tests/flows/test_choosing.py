"""The whole flow with a dev set: checkpoints read it beside the training, which ends when none gets better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.planning import plan_table
from compute.local import LocalCompute
from flows.fine_tune import fine_tune
from runs.results import RunResult
from sft.config import RunConfig, load
from sft.dataset.split import split
from sft.smoke import digits
from sft.store import records
from tasks.telling import listening

pytestmark = pytest.mark.usefixtures("prefect_server", "one_reader", "one_look")


class Said:
    """Hears what a run tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def event(self, event: dict[str, Any]) -> None:
        pass


def three_sets(home: Path) -> Path:
    """Lines of digits, shared out among three files."""
    folder = home / "data"
    digits.write_dataset(folder, train_rows=300, held_out_rows=4, seed=1)
    split(folder / "train.jsonl", *(folder / f"{name}.jsonl" for name in ("fit", "judge", "choose")), share=0.1)
    return folder


def configuration(folder: Path) -> RunConfig:
    """A learning rate with which the model is soon the worse for it."""
    files = {"train": "fit", "held_out": "judge", "dev": "choose"}
    settings = [f"dataset.{key}={folder / f'{name}.jsonl'}" for key, name in files.items()]
    settings += ["dataset.digits=null", "train.learning_rate=0.03", "train.min_learning_rate=0.03"]
    settings += ["train.max_steps=2000", "train.save_steps=8", "train.warmup_steps=1", "train.patience=1"]
    return load("smoke", [*settings, "train.save_total_limit=2", "promote.mode=never"]).config


def test_the_training_ends_when_no_checkpoint_gets_better_and_the_best_one_is_the_candidate(home: Path) -> None:
    folder, said = three_sets(home), Said()
    config = configuration(folder)
    with listening(said):
        result = fine_tune(config)
    assert isinstance(result, RunResult)
    run = LocalCompute(home / "state").volumes.run(result.identity)
    record = records.read_record(run) or {}
    chosen = record["chosen"]
    scores = {int(score["step"]): score["error"] for score in chosen["scores"]}
    assert chosen["step"] == min(scores, key=lambda step: (scores[step], -step))
    assert record["steps"] < 200, "it would have gone on to 2000"
    assert chosen["step"] < record["steps"]
    assert "read the dev rows no better than checkpoint-" in record["stopped"]
    (early,) = [line for line in said.lines if line.startswith("the training ends early: 1 checkpoints in a row")]
    assert "train.patience" in early
    assert any("dev rows: error" in line and "the best so far is checkpoint-" in line for line in said.lines)
    assert records.broken_files(result.model, record["model"]) == [], "what came here is the chosen one"
    page = result.report.read_text()
    assert f"The model is that of checkpoint-{chosen['step']}: the best error on" in page
    assert "It ended early: 1 checkpoints in a row" in page
    assert page.count("on the dev rows</title>") == len(scores), "the curve shows them"
    assert record["left_out"]["rows"] == len((folder / "fit.jsonl").read_text().splitlines())

    calls = len(list((home / "state" / "calls").iterdir()))
    again = fine_tune(config)
    assert isinstance(again, RunResult)
    assert (again.trained, again.identity) == (False, result.identity)
    assert len(list((home / "state" / "calls").iterdir())) == calls, "nothing is read or trained again"
    other_rows_choose(folder, config, result)


def other_rows_choose(folder: Path, config: RunConfig, result: RunResult) -> None:
    """What chooses is a part of what a training is."""
    rows = (folder / "choose.jsonl").read_text()
    for written, same in ((rows, True), (rows.partition("\n")[2], False)):
        (folder / "choose.jsonl").write_text(written)
        cells = {str(cell) for column in plan_table(config).columns for cell in column.cells}
        assert any(result.identity[:16] in cell for cell in cells) is same
        assert any("at most 200 dev rows" in cell for cell in cells)
