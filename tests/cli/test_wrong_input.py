"""Wrong input, for every command: all that is wrong at once, before anything is started, asked or written."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import cli.run
from cli.base import app
from tests.cli.test_cli_faults import STARTED, sft
from tests.conftest import Dataset
from tests.support import loaded

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
assert cli.run, "imported, so that every command is registered"
ROOT = Path(__file__).parents[2]
PROFILE = "unknown profile (found nosuch)"
IDENTITY = "no finished training of that identity (found nosuch)"

# What is typed, and all that has to be said of it. Nowhere is there a token for Modal: mistakes come before it.
WRONG: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("run nosuch --set foo --set .=x", (PROFILE, "key=value (found foo)", "key=value (found .=x)")),
    (
        "run smoke --set dataset.train=nosuch.jsonl --set dataset.digits=null",
        ("dataset.train: the dataset file does not exist (found 'nosuch.jsonl')", "dataset.held_out is missing"),
    ),
    (
        "run full --set dataset.train=n1 --set dataset.held_out=n2 --set output.folder=good.jsonl",
        ("dataset.train: the dataset file does not exist", "dataset.held_out: the", "good.jsonl: no folder"),
    ),
    ("run full --set dataset.train=n1 --set modal.gpu=A99", ("Modal has no GPU A99", "does not exist (found 'n1')")),
    ("run smoke --set dataset.digits=null --set dataset.volume=nosuch", ("no finished dataset", "found nosuch")),
    ("run smoke --set train.resume=checkpoint-999", ("no training has such a checkpoint (found checkpoint-999)",)),
    (
        "run smoke --hosted --detach --set dataset.guard.a=nosuch.jsonl",
        ("only a run that computes at Modal", "a hosted run is left to itself", "nosuch.jsonl: the dataset file"),
    ),
    ("run smoke --set evaluate.backend=vllm", ("evaluate.backend vllm reads on a GPU at Modal",)),
    ("run smoke --set base_model.repo=nosuch", ("base_model.repo: Repository on the HF Hub (owner/name)",)),
    (
        "evaluate base nosuch! nosuch.jsonl --profile nosuch",
        (PROFILE, "no model is called so (found nosuch!)", "nosuch.jsonl: the dataset file does not exist"),
    ),
    ("evaluate champion good.jsonl", ("there is no champion yet",)),
    (
        "evaluate base base held-out --set output.folder=good.jsonl",
        ("named twice (found base)", "good.jsonl: no folder"),
    ),
    (
        "run full --set dataset.dev=nosuch.jsonl --set dataset.dev_share=0.1",
        ("dataset.dev: the dataset file does not exist", "are two dev sets"),
    ),
    ("run smoke --set dataset.images=headers", ("dataset.images headers: a run is known by the content",)),
    (
        "run smoke --set dataset.guard.a=nosuch.jsonl --set dataset.guard.b=empty.jsonl",
        ("nosuch.jsonl: the dataset file does not exist", "empty.jsonl: the dataset file is empty"),
    ),
    (
        "run full --set dataset.train=good.jsonl --set dataset.mix.a.path=n1 --set dataset.mix.a.share=0.2",
        ("dataset.held_out: the dataset file does not exist", "dataset.mix.a.path: the dataset file does not exist"),
    ),
    ("run smoke --set dataset.mix.a.path=good.jsonl", ("dataset.mix.a.share: Field required",)),
    ("run smoke --set train.patience=2", ("train.patience needs dev rows: give dataset.dev",)),
    ("validate good.jsonl --dev good.jsonl", ("--dev: a dev set is compared with the held-out set",)),
    (
        "upload good.jsonl empty.jsonl --dev nosuch.jsonl",
        ("empty.jsonl: the dataset file is empty", "nosuch.jsonl: the dataset file does not exist"),
    ),
    (
        "doubtful nosuch nosuch.jsonl --model nosuch! --odds 1",
        (PROFILE, "odds are above 1 (found 1)", "no model is called so (found nosuch!)", "nosuch.jsonl: the dataset"),
    ),
    ("relabel good.jsonl nosuch.json new.jsonl", ("nosuch.json",)),
    (
        "infer good.jsonl --task page --rows good.jsonl",
        ("answers to whole pages are no rows", "cannot be read as an image"),
    ),
    (
        "upload good.jsonl nosuch.jsonl --as Not/That",
        ("nosuch.jsonl: the dataset file does not exist", "--as: no dataset can be called so (found Not/That)"),
    ),
    ("curve nosuch", (PROFILE,)),
    (
        "curve smoke --parts 0.5,2",
        ("a curve is drawn through dev rows, and there are none", "a part is a fraction of the training set (found 2)"),
    ),
    ("curve smoke --parts a,b", ("parts are numbers, by commas (found a,b)",)),
    ("curve smoke --parts 0.5,1 --set dataset.dev_share=0.1", ("a curve needs three parts (found 0.5, 1)",)),
    ("sweep nosuch --grid train.seed=1,2", (PROFILE,)),
    (
        "sweep smoke --grid train.sede=1,2",
        ("a sweep chooses by dev rows, and there are none", "a sweep varies hyperparameters (found train.sede)"),
    ),
    ("plan nosuch", (PROFILE,)),
    ("plan full --set dataset.train=good.jsonl", ("dataset.held_out: the dataset file does not exist",)),
    ("status nosuch", (PROFILE,)),
    ("history nosuch", (PROFILE,)),
    ("cost 2026-13 --profile nosuch", (PROFILE, "a month is YYYY-MM (found 2026-13)")),
    ("cost 2999-01", ("the month is still to come (found 2999-01)",)),
    ("cancel --profile nosuch", (PROFILE,)),
    ("cancel nosuch", ("no such training runs (found nosuch)",)),
    ("sample nosuch --name nosuch", (PROFILE, "no such sample set (found nosuch)")),
    ("doctor full --check nosuch", ("no such check (found nosuch)", "use base model, token, ")),
    ("deploy nosuch", (PROFILE,)),
    (
        "deploy smoke --night --cron foo --timezone Nowhere/At --set train.epochs=0",
        ("--cron: no schedule", "no such time zone (found Nowhere/At)", "train.epochs"),
    ),
    ("deploy nightly --night", ("dataset.volume: a night at Modal finds its rows on the data volume alone",)),
    ("deploy smoke --night", ("only a run that computes at Modal", "dataset.volume: a night at Modal")),
    ("deploy --night --cron foo", ("--cron and --timezone are of a profile's nights",)),
    ("deploy smoke --set wheel.url=foo", ("wheel.url: Another address of the wheel (http or https",)),
    ("upload-wheel nosuch.whl", ("nosuch.whl: no such file", "not a wheel that an engine needs (found nosuch.whl)")),
    ("upload nosuch.jsonl empty.jsonl", ("nosuch.jsonl: the dataset file does not exist", "empty.jsonl: the dataset")),
    (
        "validate nosuch.jsonl --held-out empty.jsonl --rule leek-row=off --model folder --report good.jsonl/page.html",
        ("nosuch.jsonl: the", "empty.jsonl: the", "perhaps 'leak-row'", "no tokenizer.json", "good.jsonl: no folder"),
    ),
    ("convert nosuch.jsonl out.jsonl --to messages", ("nosuch.jsonl: the dataset file does not exist",)),
    ("import nosuch out.jsonl", ("nosuch: no such file or folder",)),
    ("split nosuch.jsonl", ("nosuch.jsonl: the dataset file does not exist",)),
    ("split volume://pages/../x.jsonl --profile smoke", ("a path below it",)),
    ("fetch-images nosuch.jsonl out.jsonl", ("nosuch.jsonl: the dataset file does not exist",)),
    ("infer folder", ("no image and no PDF in the folder (found folder)",)),
    ("infer text.md folder --profile nosuch", (PROFILE, "text.md: it cannot be read as an image", "found folder")),
    (
        "infer nosuch.png --model x --task y --out good.jsonl/read",
        ("found nosuch.png", "no model is called so (found x)", "no such task (found y)", "a file is in its place"),
    ),
    ("promote nosuch nosuch", (PROFILE, IDENTITY)),
    ("promote full nosuch", (IDENTITY,)),
    ("promote nosuch nosuch --refuse", (PROFILE, IDENTITY, "whoever trains next wants to know why (found --refuse)")),
    ("rollback nosuch", (PROFILE,)),
    ("rollback smoke", ("no champion to go back to",)),
    ("publish nosuch noslash --model nosuch", (PROFILE, "an owner and a name (found noslash)", IDENTITY)),
    ("publish smoke noslash", ("a repository has an owner and a name (found noslash)",)),
    ("cleanup nosuch", (PROFILE,)),
    ("tensorboard nosuch", (PROFILE,)),
    ("track nosuch", (PROFILE,)),
    ("track smoke", ("no tracker is named",)),
    ("track smoke nosuch --set track.wandb=me/pages", ("no training of that identity (found nosuch)",)),
    (
        "run smoke --set track.mlflow=http://me:planted@h --set track.wandb=pages",
        ("track.mlflow: MLflow's tracking server: http(s)://…, without user and password", "ENTITY/PROJECT"),
    ),
)


def test_every_command_is_given_something_wrong() -> None:
    assert {line.split()[0] for line, _ in WRONG} == set(COMMANDS)


@pytest.mark.parametrize(("line", "said"), WRONG)
def test_all_of_it_is_said_at_once_and_nothing_is_written(tmp_path: Path, line: str, said: tuple[str, ...]) -> None:
    data = Dataset(tmp_path)
    data.write("good.jsonl", [data.row(data.image("a.png"))])
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "text.md").write_text("no picture")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = sft(tmp_path, f"{sys.executable} -P {loaded.__file__} {line}", {"PYTHONPATH": str(ROOT)})
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 2, process.stdout + process.stderr
    assert [text for text in said if text not in process.stderr] == [], process.stderr
    problems = [text for text in process.stderr.splitlines() if text.startswith("  - ")]
    assert len(problems) in (0, len(said)), "no more than what is wrong"
    assert process.stderr.count("error:") == 1
    assert "Traceback" not in process.stderr
    assert "Next: " in process.stderr
    assert "\n. Next" not in process.stderr
    assert sorted(tmp_path.rglob("*")) == before, "something was written: a state, Prefect's home, a result"
    assert process.stderr.splitlines()[-1] == loaded.SAID, "a slow package was imported first"
    taken = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    assert taken < STARTED, f"{taken:.1f} s of processor time"
