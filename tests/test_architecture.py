"""The rooms of the architecture: who may import whom, and that importing does no work."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("flows", "tasks", "compute", "modal_infra", "sft")  # the arrows point to the right
FOREIGN = {
    "sft": {"prefect", "modal", "paddle"},
    "modal_infra": {"prefect", "paddle"},
    "compute": {"prefect", "paddle"},
}


def modules(room: str) -> list[str]:
    paths = sorted((ROOT / room).rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def imports(path: Path) -> set[str]:
    """Top-level names of all imports of a file, those inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_the_arrows_never_point_backwards(room: str) -> None:
    left = set(ROOMS[: ROOMS.index(room)]) | {"tests"}
    for path in (ROOT / room).rglob("*.py"):
        assert not imports(path) & left, path


@pytest.mark.parametrize("room", FOREIGN)
def test_importing_every_module_of_a_room_pulls_in_nothing_foreign(room: str) -> None:
    names = [name for name in modules(room) if not name.endswith("modal")]
    body = (
        "import sys, importlib, socket\n"
        "def refuse(*a, **k): raise AssertionError('network at import')\n"
        "socket.socket.connect = refuse\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(sorted({FOREIGN[room]!r} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", body], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "[]\n", "foreign modules were imported, or an import printed"


def test_only_recognition_and_the_launcher_name_paddle() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sft").rglob("*.py")
        if imports(path) & {"paddle", "paddleformers"}
    }
    assert users == {"sft/recognition.py", "sft/engines/cpu_launcher.py"}


def test_modules_stay_readable() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            assert len(path.read_text().splitlines()) < 500, path


def test_no_module_reads_yaml_or_pickles_unsafely() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text()
            assert "yaml.load(" not in text, path
            # What people write is read in one place, by a SafeLoader of its own: test_yaml.py tries to have code run.
            assert "Loader" not in text or "import yaml" not in text or path == ROOT / "sft/config/yaml.py", path
            assert "pickle" not in imports(path), path
