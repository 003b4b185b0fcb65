"""Rows that a trainer leaves out: recorded output, bounds, and real trainings on rows that are too long."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

from compute.local import LocalCompute
from sft.context import Context
from sft.dataset.dropped import LeftOut, check_enlarged, describe
from sft.dataset.facts import PARTS, Facts
from sft.engines import ENGINES
from sft.errors import DatasetError, TrainingFailed
from sft.jobs.download_model import DownloadModelArgs, download_model
from sft.jobs.train import TrainArgs, train
from sft.smoke import digits
from sft.store import records
from tests.support.runs import ROWS, short_training

RECORDED = Path(__file__).parents[2] / "fixtures" / "failures"
ODD = "it's, 50% #1? ü 日本"  # a folder's name that no trainer takes whole
TOO_LONG = 8  # rows


def read(engine: str, **bounds: float) -> LeftOut:
    left_out = LeftOut(ENGINES[engine].left_out, rows=100, bound=bounds.get("bound", math.inf))
    for line in (RECORDED / f"{engine}_left_out.log").read_text().splitlines():
        left_out.read(line, 0)
    return left_out


def test_every_word_that_paddleformers_has_for_a_row_that_it_leaves_out_counts() -> None:
    left_out = read("paddleformers")
    assert left_out.times == 10
    assert left_out.why["longer than max_seq_len"] == left_out.why["an empty answer"] == 1
    assert "Ignore example with empty messages." in left_out.why
    assert any("does not match the number of <video> tokens" in why for why in left_out.why)


def test_erniekits_two_tracebacks_of_a_row_are_one_row() -> None:
    left_out = read("erniekit")
    assert dict(left_out.why) == {"longer than max_seq_len": 1}


def test_as_many_may_be_left_out_of_each_pass_as_the_bound_says() -> None:
    line = "[SKIP] data is deleted by truncation strategy: <image>OCR:..."
    left_out = LeftOut(ENGINES["paddleformers"].left_out, 1000, 0.005, rows_per_pass=8, passes_per_step=5)
    for _ in range(5):
        assert left_out.read(line, 24)
    assert left_out.read(line, 25), "the second pass has begun"
    for _ in range(4):
        left_out.read(line, 25)
    with pytest.raises(TrainingFailed, match="longer than max_seq_len") as caught:
        left_out.read(line, 25)
    assert caught.value.value == "11 of 1000 rows in pass 2; train.dropped_rows allows 0.5 % of them in a pass"
    assert "train.max_seq_len" in caught.value.remedy
    assert left_out.as_dict(50)["passes"] == 2
    assert describe(left_out.as_dict(50)).startswith("11 times the trainer left out one of 1000 rows: longer than")
    assert describe({"times": 0, "why": {}, "rows": 5, "passes": 1}) == ""


def test_packs_that_are_not_full_are_fewer_passes() -> None:
    left_out = LeftOut(ENGINES["erniekit"].left_out, 32, 0.0, rows_per_pass=8, passes_per_step=1)
    for _ in range(8):
        left_out.packed("loss: 1.0, learning_rate: 1e-4, global_step: 1, data_id: 0-1-2, src_id: 0-0-0")
    assert left_out.as_dict(8)["passes"] == 24 / 32


def test_an_augmentation_that_makes_many_rows_too_long_is_refused_before_it_is_paid_for() -> None:
    check_enlarged(Facts(rows=1000, enlarged=5 * PARTS), 0.005)
    with pytest.raises(DatasetError, match="augmentation") as caught:
        check_enlarged(Facts(rows=1000, enlarged=6 * PARTS), 0.005)
    assert "6.0 of 1000 rows" in caught.value.value


def training(compute: LocalCompute, too_long: int, **spec: float) -> tuple[TrainArgs, Context, list[str]]:
    """A training of four steps, the last rows of which are longer than max_seq_len; its context and what it says."""
    said: list[str] = []
    context = Context(compute.volumes, "call", say=said.append)
    folder = compute.state / "digits"
    digits.write_dataset(folder, train_rows=ROWS, held_out_rows=8, seed=1)
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    for row in rows[len(rows) - too_long :]:
        row["text_info"][1]["text"] = "7" * 600
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = short_training(compute)
    record = download_model(DownloadModelArgs(source="tiny", repo="", revision="main"), context)
    assert record["name"] == given.base_model
    return given.model_copy(update={"spec": given.spec.model_copy(update=spec)}), context, said


def test_a_real_training_that_leaves_out_every_row_ends_at_once(home: Path) -> None:
    args, context, _ = training(LocalCompute(home / "state"), ROWS)
    begun = time.monotonic()
    with pytest.raises(TrainingFailed, match="longer than max_seq_len") as caught:
        train(args, context)
    assert time.monotonic() - begun < 120, "it went round and round (alone it takes 8 s)"
    assert (caught.value.where, caught.value.value.split(";")[0]) == ("step 0", "1 of 32 rows before the first step")


def test_a_real_training_in_a_folder_with_an_odd_name_says_what_it_left_out(home: Path) -> None:
    """Its paths are told to PaddleFormers, which splits them on commas and ``#`` and drops blanks; it resumes, too."""
    compute = LocalCompute(home / ODD / "state")
    args, context, said = training(compute, TOO_LONG, dropped_rows=1.0)
    record = train(args, context)
    assert record["steps"] == 4
    assert record["left_out"]["why"] == {"longer than max_seq_len": record["left_out"]["times"]}
    assert 0 < record["left_out"]["times"] <= 2 * TOO_LONG, "half a pass, and what the loader has read ahead"
    assert (record["left_out"]["rows"], record["left_out"]["passes"]) == (ROWS, 0.5)
    assert any('"event": "left-out"' in line for line in said), "whoever follows it is told while it runs"
    run = context.volumes.run(record["identity"])
    (run / "record.json").unlink()
    again = train(args, context)
    assert again["resumed_from"] == "checkpoint-4"
    assert records.broken_files(run / "model", again["model"]) == []
