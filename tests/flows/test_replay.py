"""Replay: tuned on handwriting, a model keeps print where it is mixed in (and forgets it without: test_deployments)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from compute.local import LocalCompute
from flows.fine_tune import fine_tune
from runs.results import RunResult
from sft.config import load
from sft.dataset.reading import read_samples
from sft.store import records
from tests.support.modal_runs import SFT
from tests.support.printed import write_printed

pytestmark = pytest.mark.usefixtures("prefect_server", "one_reader", "one_look")
ROWS, SHARE = 640, 0.4


def own_answers(home: Path, truth: Path) -> Path:
    """What the base reads on pages without labels, as rows: nobody has to write any."""
    replay = home / "own" / "answers.jsonl"
    command = [SFT, "infer", str(home / "data" / "r"), "--model", "base", "--rows", str(replay), "--out", "read"]
    done = subprocess.run([*command, "--set", "evaluate.max_new_tokens=16"], cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in replay.read_text().splitlines()]
    assert {row["answered_by"].partition(" ")[0] for row in rows} == {"base"}
    said = sorted(sample.answer for sample in read_samples(replay, "erniekit"))
    assert said == sorted(sample.answer for sample in read_samples(truth, "erniekit")), "the base reads print"
    return replay


def test_what_is_mixed_in_is_not_unlearned_and_the_gate_lets_it_pass(home: Path) -> None:
    guard, truth = (write_printed(home / "data", name, rows, seed) for name, rows, seed in (("g", 30, 1), ("r", 60, 2)))
    replay = own_answers(home, truth)
    settings = [f"dataset.digits.train_rows={ROWS}", "dataset.digits.held_out_rows=30", f"dataset.guard.print={guard}"]
    settings += [f"dataset.mix.print.path={replay}", f"dataset.mix.print.share={SHARE}"]
    config = load("smoke", [*settings, "train.max_steps=90", "train.save_steps=90", "promote.check_rows=4"]).config
    result = fine_tune(config)
    assert isinstance(result, RunResult)
    run = LocalCompute(home / "state").volumes.run(result.identity)
    (evaluation,) = (records.read_record(place) for place in (run / "evaluation").iterdir())
    assert evaluation is not None
    judged = evaluation["guards"]["print"]
    assert judged["scores"]["base"]["all"]["error"] < 0.01, "the base reads print"
    assert result.promoted, result.decision
    assert judged["differences"]["base"]["all"]["error"]["value"] <= 0.02
    page = result.report.read_text()
    assert "Guard sets: what may not be unlearned" in page
    for part in ("all", "task ocr", "script "):
        assert f"<td>print<td>{part}" in page

    given = [json.loads(line)["images"][0] for line in (run / "work" / "train.messages.jsonl").read_text().splitlines()]
    printed = [image.startswith(str(replay.parent)) for image in given]
    assert len(given) - sum(printed) == ROWS
    assert sum(printed) / len(given) == pytest.approx(SHARE, abs=1e-3)
    assert 0.35 < sum(printed[:200]) / 200 < 0.45, "from the beginning"
    often = {given.count(image) for image, is_print in zip(given, printed) if is_print}
    assert often == {7, 8}, "60 rows for 427 places"
