"""Paths as trainers take them whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sft.engines import ENGINES
from sft.engines.base import Folders
from sft.engines.paths import told
from sft.jobs.examples import SPEC

PLAIN = re.compile(r"[A-Za-z0-9_./@+-]+")
NAMES = ["a b", "comma, folder", "50% #1?", "-dash", "it's", 'say "x"', "täst 日本", "{x}", "$HOME", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_below_an_odd_folder_is_named_from_the_working_folder(tmp_path: Path, name: str) -> None:
    work = tmp_path / name / "outputs" / "runs" / "1" / "work"
    base = tmp_path / name / "models" / "PaddlePaddle--PaddleOCR-VL@main"
    for folder in (work, base):
        folder.mkdir(parents=True)
    if name == "-dash":  # it is harmless in the middle of a path
        assert told(base, work) == base
        return
    assert told(base, work) == Path("../../../../models/PaddlePaddle--PaddleOCR-VL@main")
    assert told(work / "train.erniekit.jsonl", work) == Path("train.erniekit.jsonl")
    assert told(work.parent / "trainer", work) == Path("../trainer"), "it need not be there yet"


@pytest.mark.parametrize("name", NAMES)
def test_what_has_an_odd_name_itself_is_a_link(tmp_path: Path, name: str) -> None:
    work, base = tmp_path / "work", tmp_path / name
    work.mkdir()
    base.mkdir()
    (base / "config.json").write_text("{}")
    for _ in range(2):  # a run that goes on makes it anew
        given = told(base, work)
        assert PLAIN.fullmatch(str(given))
        assert not str(given).startswith("-")
        assert (work / given / "config.json").read_text() == "{}"


def test_a_plain_path_stays_as_it_is(tmp_path: Path) -> None:
    assert told(Path("/outputs/runs/0a/trainer"), Path("/outputs/runs/0a/work")) == Path("/outputs/runs/0a/trainer")


@pytest.mark.parametrize("engine", ["erniekit", "paddleformers"])
def test_every_path_that_an_engine_is_told_is_plain(tmp_path: Path, engine: str) -> None:
    state = tmp_path / "it's, 50% #1? ü"
    run = state / "outputs" / "runs" / "1"
    (run / "work").mkdir(parents=True)
    base, train = state / "models" / "base@main", run / "work" / "train.jsonl"
    folders = Folders(base, train, run / "trainer", run / "logs", run / "work" / "train.yaml").told(run / "work")
    resume = told(run / "trainer" / "checkpoint-2", run / "work")
    command = ENGINES[engine].command(SPEC, folders, resume)
    paths = {key: value for key, value in command.config.items() if isinstance(value, str) and "/" in value}
    assert {"model_name_or_path", "output_dir", "logging_dir", "resume_from_checkpoint"} <= set(paths)
    assert command.config["train_dataset_path"] == "train.jsonl"
    for path in (*paths.values(), *command.argv[-2:]):
        assert PLAIN.fullmatch(path), path
        assert str(tmp_path) not in path
