"""The environments' locks: made for the same versions as everything that they meet."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from modal_infra import replay
from modal_infra.recipes import HEADLESS, INTERPRETER, RECIPES
from sft.environments import FOLDER, IMPORTS, decisive, pins
from sft.training.wheels import WHEELS

ROOT = Path(__file__).parents[2]
LOCKS = sorted(path.stem for path in FOLDER.glob("*.txt"))


def locked(path: Path) -> dict[str, str]:
    return dict(line.split("==", 1) for line in path.read_text().splitlines())


def test_each_environment_has_a_lock_a_recipe_and_imports() -> None:
    assert set(LOCKS) == set(RECIPES) == set(IMPORTS)
    assert set(WHEELS) <= set(LOCKS)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_is_asked_for_and_nothing_else(name: str) -> None:
    """Pins alone: no registry's address, and no paddlepaddle, in whose folder the GPU wheel is installed."""
    found, asked = pins(name), (FOLDER / f"{name}.in").read_text()
    assert all(re.fullmatch(r"[a-z0-9.-]+", package) for package in found)
    assert not [package for package in found if package.startswith("paddlepaddle")]
    for package, version in re.findall(r"^([\w-]+)(?:\[.*\])?==([\w.]+)", asked + domain(), re.MULTILINE):
        wanted = WHEELS[name].version if package == "paddlepaddle" else found[package.lower().replace("_", "-")]
        assert wanted == version, package


def test_vllm_has_a_lock_of_its_own() -> None:
    found = locked(FOLDER / "vllm" / "vllm.txt")
    assert f"vllm=={found['vllm']}" in (FOLDER / "vllm" / "vllm.in").read_text()
    assert all(re.fullmatch(r"[a-z0-9.-]+", package) for package in found)


@pytest.mark.parametrize("engine", WHEELS)
def test_the_opencv_that_is_written_last_is_the_locks(engine: str) -> None:
    assert f"opencv-python-headless=={pins(engine)['opencv-python-headless']}" == HEADLESS


def domain() -> str:
    return (FOLDER / "domain.in").read_text()


def test_safetensors_is_one_that_writes_transposed_arrays_right_everywhere() -> None:
    """0.8.0 writes garbage for arrays that are not contiguous (safetensors #825)."""
    files = [ROOT / "requirements.lock", ROOT / "requirements-312.txt", *FOLDER.glob("*.txt")]
    assert {locked(path)["safetensors"] for path in files} == {"0.7.0"}


def test_the_second_interpreter_tests_what_containers_have() -> None:
    assert pins("light").items() <= locked(ROOT / "requirements-312.txt").items()


def test_the_orchestrator_and_the_containers_agree_on_what_crosses_between_them() -> None:
    here = locked(ROOT / "requirements.lock")
    for package in ("pydantic", "msgspec", "huggingface-hub", "safetensors"):
        assert here[package] == pins("light")[package]


def test_this_machine_trains_with_the_versions_of_the_image() -> None:
    here = locked(ROOT / "requirements.lock")
    assert decisive("paddleformers").items() <= here.items()
    assert here["paddlepaddle"] == WHEELS["paddleformers"].version


@pytest.mark.parametrize("name", LOCKS)
def test_the_steps_install_into_an_interpreter_that_is_no_virtual_environment(name: str, tmp_path: Path) -> None:
    """An image's is none. uv finds one that is given by its path, and none that is given as ``python``."""
    (tmp_path / "empty.txt").touch()
    bare = Path(sys.base_prefix) / "bin" / "python3"
    assert Path(INTERPRETER).is_absolute()
    first = RECIPES[name][0].filled(python=str(bare), lock=str(tmp_path / "empty.txt"), paddle="")[0]
    command = first.replace("uv pip install", f"{Path(sys.executable).parent}/uv pip install --dry-run --offline")
    process = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_pip_check_must_say_what_is_known_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A complaint that is new, one that is listed although nobody makes it, and one that is not the environment's."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    needy = tmp_path / "elsewhere" / "needy-1.0.dist-info" / "METADATA"
    needy.parent.mkdir(parents=True)
    needy.write_text("Metadata-Version: 2.1\nName: needy\nVersion: 1.0\nRequires-Dist: absent\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))  # a clone has its own metadata beside its code
    replay.check(python, ())
    complaint = "needy 1.0 requires absent, which is not installed."
    with pytest.raises(replay.Broken, match=complaint):
        replay.check(python, (complaint,))
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    needy.parent.rename(site / needy.parent.name)
    with pytest.raises(replay.Broken, match=complaint):
        replay.check(python, ())
    replay.check(python, (complaint,))


def test_a_replay_of_an_unknown_environment_says_which_there_are() -> None:
    command = [sys.executable, "-m", "modal_infra.replay", "--python", sys.executable, "ernie"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 2
    assert "no environment ernie: use light, night, erniekit, paddleformers, transformers" in process.stderr
