from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sft import checkpoints, records
from sft.engines import ENGINES
from sft.errors import InputError, IntegrityError
from sft.weights import torn

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


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    make(tmp_path, 9)
    newest = make(tmp_path, 10)
    assert checkpoints.newest_verified(tmp_path, IDENTITY, CHECK) == newest


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
def test_a_torn_checkpoint_is_set_aside_with_the_reason(tmp_path: Path, damage: str, reason: str) -> None:
    older, torn = make(tmp_path, 100), make(tmp_path, 200, seal=damage != "unsealed")
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
    assert checkpoints.newest_verified(tmp_path, IDENTITY, CHECK) == older
    assert not torn.exists()
    (why,) = (tmp_path / "quarantine").glob("*.reason.json")
    assert reason in " ".join(records.read_json(why)["reasons"])


def test_sealed_without_what_a_resume_needs_is_torn(tmp_path: Path) -> None:
    path = make(tmp_path, 5, seal=False)
    (path / "trainer_state.bin").unlink()
    checkpoints.seal(path, IDENTITY, "paddleformers", 5, None)
    assert checkpoints.problems(path, IDENTITY, CHECK) == ["trainer_state.* is missing"]


def test_never_sets_all_aside_and_a_name_is_taken_at_its_word(tmp_path: Path) -> None:
    first, second = make(tmp_path, 1), make(tmp_path, 2)
    assert checkpoints.choose(tmp_path, "checkpoint-1", IDENTITY, CHECK) == first
    assert not second.exists(), "the trainer resumes from the highest number: later ones must not stay"
    assert checkpoints.choose(tmp_path, "never", IDENTITY, CHECK) is None
    assert not first.exists()


def test_a_named_checkpoint_must_exist_and_verify(tmp_path: Path) -> None:
    path = make(tmp_path, 3)
    with pytest.raises(InputError, match="there are: checkpoint-3"):
        checkpoints.choose(tmp_path, "checkpoint-4", IDENTITY, CHECK)
    (path / "config.json").write_text("{ }")
    with pytest.raises(IntegrityError, match="does not verify"):
        checkpoints.choose(tmp_path, "checkpoint-3", IDENTITY, CHECK)
    assert path.exists()


def test_setting_aside_twice_keeps_both(tmp_path: Path) -> None:
    for _ in range(2):
        checkpoints.quarantine(make(tmp_path, 7), ["why"])
    assert len([p for p in (tmp_path / "quarantine").iterdir() if p.is_dir()]) == 2


def test_the_best_has_the_lowest_loss(tmp_path: Path) -> None:
    make(tmp_path, 1, loss=0.3)
    best = make(tmp_path, 2, loss=0.1)
    make(tmp_path, 3, loss=0.2)
    make(tmp_path, 4, seal=False)
    assert checkpoints.best(tmp_path) == best
    assert checkpoints.best(tmp_path / "none") is None


@pytest.mark.parametrize("content", [b"", b"\x08", b"\xff" * 16, b"\x02\x00\x00\x00\x00\x00\x00\x00{]"])
def test_garbage_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert torn(path) is not None
