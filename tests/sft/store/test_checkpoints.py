import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sft.engines import ENGINES
from sft.errors import InputError, IntegrityError
from sft.models.weights import torn
from sft.store import checkpoints, records

IDENTITY = "a" * 64
CHECK = ENGINES["paddleformers"].checkpoint_problems


def make(folder: Path, step: int, *, loss: float | None = None, seal: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in ("model-00001-of-00001.safetensors", "optimizer-00001-of-00001.safetensors"):
        save_file({"w": np.full((8, 8), step, np.float32)}, str(path / name))
    for name in ("config.json", "trainer_state.bin", "scheduler.pdparams"):
        (path / name).write_text("{}")
    if seal:
        checkpoints.seal(path, IDENTITY, "paddleformers", step, loss)
    return path


@pytest.fixture
def trainer(tmp_path: Path) -> Path:
    """The trainer's output folder in a training's folder."""
    folder = tmp_path / "trainer"
    folder.mkdir()
    return folder


def test_the_newest_whole_checkpoint_is_taken(trainer: Path) -> None:
    make(trainer, 9)
    newest = make(trainer, 10)
    assert checkpoints.newest_verified(trainer, IDENTITY, CHECK) == newest


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("truncate model", "bytes instead of"),
        ("flip a bit", "sha256 differs"),
        ("no trainer_state", "trainer_state.bin: missing"),
        ("no optimizer", "optimizer-00001-of-00001.safetensors: missing"),
        ("unsealed", "was not finished"),
        ("another training", "belongs to another training"),
    ],
)
def test_a_torn_checkpoint_is_set_aside_with_the_reason(trainer: Path, damage: str, reason: str) -> None:
    older, torn = make(trainer, 100), make(trainer, 200, seal=damage != "unsealed")
    model = torn / "model-00001-of-00001.safetensors"
    content = model.read_bytes()
    if damage == "truncate model":
        model.write_bytes(content[:-10])
    elif damage == "flip a bit":
        model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "no trainer_state":
        (torn / "trainer_state.bin").unlink()
    elif damage == "no optimizer":
        (torn / "optimizer-00001-of-00001.safetensors").unlink()
    elif damage == "another training":
        checkpoints.seal(torn, "b" * 64, "paddleformers", 200, None)
    assert checkpoints.newest_verified(trainer, IDENTITY, CHECK) == older
    assert not torn.exists()
    (why,) = (trainer.parent / "quarantine").glob("*.reason.json")
    assert reason in " ".join(records.read_json(why)["reasons"])


def test_sealed_without_what_a_resume_needs_is_torn(trainer: Path) -> None:
    path = make(trainer, 5, seal=False)
    (path / "trainer_state.bin").unlink()
    checkpoints.seal(path, IDENTITY, "paddleformers", 5, None)
    assert checkpoints.problems(path, IDENTITY, CHECK) == ["trainer_state.* is missing"]


def test_never_sets_all_aside_and_a_name_is_taken_at_its_word(trainer: Path) -> None:
    first, second = make(trainer, 1), make(trainer, 2)
    assert checkpoints.choose(trainer, "checkpoint-1", IDENTITY, CHECK) == first
    assert not second.exists(), "the trainer resumes from the highest number: later ones must not stay"
    (trainer / "model.safetensors").write_text("half a model")
    assert checkpoints.choose(trainer, "never", IDENTITY, CHECK) is None
    assert not first.exists()
    assert list(trainer.iterdir()) == [], "ERNIEKit refuses a folder that has anything in it but no checkpoint"


def test_where_no_checkpoint_verifies_nothing_is_left_in_the_trainers_folder(trainer: Path) -> None:
    make(trainer, 1, seal=False)
    (trainer / "config.json").write_text("{}")
    (trainer / "quarantine").mkdir()  # as a version before this one kept it
    assert checkpoints.choose(trainer, "auto", IDENTITY, CHECK) is None
    assert list(trainer.iterdir()) == []
    aside = trainer.parent / "quarantine"
    assert {path.name for path in aside.iterdir() if path.is_dir()} == {"checkpoint-1", "remains"}
    assert {path.name for path in (aside / "remains").iterdir()} == {"config.json", "quarantine"}


def test_beside_a_checkpoint_that_verifies_the_folder_is_left_alone(trainer: Path) -> None:
    whole = make(trainer, 1)
    (trainer / "config.json").write_text("{}")
    assert checkpoints.choose(trainer, "auto", IDENTITY, CHECK) == whole
    assert (trainer / "config.json").exists()


def test_a_named_checkpoint_must_exist_and_verify(trainer: Path) -> None:
    path = make(trainer, 3)
    with pytest.raises(InputError, match="there are: checkpoint-3"):
        checkpoints.choose(trainer, "checkpoint-4", IDENTITY, CHECK)
    (path / "config.json").write_text("{ }")
    with pytest.raises(IntegrityError, match="does not verify"):
        checkpoints.choose(trainer, "checkpoint-3", IDENTITY, CHECK)
    assert path.exists()


def test_setting_aside_twice_keeps_both(trainer: Path) -> None:
    for _ in range(2):
        checkpoints.quarantine(make(trainer, 7), ["why"])
    assert len([p for p in (trainer.parent / "quarantine").iterdir() if p.is_dir()]) == 2


def test_the_best_has_the_lowest_loss(trainer: Path) -> None:
    make(trainer, 1, loss=0.3)
    best = make(trainer, 2, loss=0.1)
    make(trainer, 3, loss=0.2)
    make(trainer, 4, seal=False)
    assert checkpoints.best(trainer) == best
    assert checkpoints.best(trainer / "none") is None


@pytest.mark.parametrize("content", [b"", b"\x08", b"\xff" * 16, b"\x02\x00\x00\x00\x00\x00\x00\x00{]"])
def test_garbage_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert torn(path) is not None


def test_the_best_one_stays_when_the_trainer_has_let_go_of_it(trainer: Path, tmp_path: Path) -> None:
    place = tmp_path / "best"
    first = make(trainer, 2, loss=0.1)
    assert checkpoints.keep_best(place, trainer) == place / first.name
    shutil.rmtree(first)
    make(trainer, 4, loss=0.2)
    assert checkpoints.keep_best(place, trainer) is None
    better = make(trainer, 6, loss=0.05)
    assert checkpoints.keep_best(place, trainer) == place / better.name
    assert [step for step, _ in checkpoints.listed(place)] == [6]


def test_where_files_cannot_be_linked_the_best_is_a_copy_of_what_a_reader_needs(trainer: Path) -> None:
    """As on Modal's volumes of version 1; here on another file system."""
    chosen = make(trainer, 2, loss=0.1)
    for name in ("optimizer-00001-of-00001.safetensors", "scheduler.pdparams", "rng_state.pth"):
        (chosen / name).write_bytes(b"0" * 100)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        kept = checkpoints.keep_best(Path(other) / "best", trainer)
        assert kept is not None
        state = {"optimizer-00001-of-00001.safetensors", "scheduler.pdparams", "rng_state.pth"}
        assert {path.name for path in kept.iterdir()} == {path.name for path in chosen.iterdir()} - state
