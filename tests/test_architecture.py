"""The rooms of the architecture: who may import whom, and that importing does no work."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("cli", "flows", "tasks", "runs", "compute", "modal_infra", "sft")  # the arrows point to the right
# Inside sft/, in the same order. What lies at its root is for every room, but for the plan, which names every job.
DOMAIN = (
    *("plan", "jobs", "config", "training", "report", "engines", "models", "smoke", "dataset", "metrics"),
    *("notation", "torch_trainer", "environments", "tracking", "store"),
)
ROOT_OF_SFT = {
    "addresses",
    "context",
    "devices",
    "download",
    "errors",
    "families",
    "foreign",
    "guard",
    "plan",
    "processes",
    "settings",
}
FOREIGN = {
    "sft": {"prefect", "modal", "paddle"},
    "modal_infra": {"prefect", "paddle"},
    "compute": {"prefect", "paddle"},
    "runs": {"prefect", "paddle"},
    "cli": {"prefect", "paddle"},  # three seconds before a word is said: who needs it imports it late
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


def domain_imports(path: Path) -> set[str]:
    """Names below ``sft`` of all imports of a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "sft":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sft."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("sft.")}
    return found


@pytest.mark.parametrize("room", DOMAIN)
def test_the_arrows_inside_the_domain_never_point_backwards(room: str) -> None:
    left = set(DOMAIN[: DOMAIN.index(room)])
    paths = [ROOT / "sft" / f"{room}.py"] if room in ROOT_OF_SFT else sorted((ROOT / "sft" / room).rglob("*.py"))
    assert paths
    for path in paths:
        assert not domain_imports(path) & left, path


def test_every_room_of_the_domain_has_its_place_and_holds_more_than_one_file() -> None:
    folders = {path.parent for path in (ROOT / "sft").glob("*/*.py")}
    assert {folder.name for folder in folders} | {"plan"} == set(DOMAIN)
    for folder in folders:
        assert len(list(folder.rglob("*.py"))) > 1, folder
    assert {path.stem for path in (ROOT / "sft").glob("*.py")} - {"__init__"} == ROOT_OF_SFT


def test_what_lies_at_the_root_of_the_domain_needs_at_most_the_store() -> None:
    for name in ROOT_OF_SFT - {"plan"}:
        assert domain_imports(ROOT / "sft" / f"{name}.py") <= ROOT_OF_SFT - {"plan"} | {"store"}, name


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


def test_only_recognition_and_what_runs_in_the_trainers_environment_name_paddle() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sft").rglob("*.py")
        if imports(path) & {"paddle", "paddleformers"}
    }
    programs = {f"sft/environments/{name}.py" for name in ("cpu_launcher", "paddle_template", "whole_patches")}
    models = {f"sft/models/{name}.py" for name in ("recognition", "paddle_parity", "paddle_answers")}
    assert users == programs | models


def test_modules_stay_readable() -> None:
    for room in (*ROOMS, "benchmarks", "scripts"):
        for path in (ROOT / room).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 300, path


def needs(path: Path, known: set[str]) -> set[str]:
    """The project's own modules that a file imports when it runs, those inside functions too."""
    tree, found = ast.parse(path.read_text()), set()
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    skipped = {inner for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node not in skipped:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= named & known or {node.module} & known
        elif isinstance(node, ast.Import) and node not in skipped:
            found |= {alias.name for alias in node.names} & known
    return found


def test_no_modules_need_each_other() -> None:
    paths = {name: path for room in ROOMS for name, path in zip(modules(room), sorted((ROOT / room).rglob("*.py")))}
    graph = {name: needs(path, set(paths)) for name, path in paths.items()}
    assert sum(map(len, graph.values())) > 500, "imports are found"
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_no_module_reads_yaml_or_pickles_unsafely() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text()
            assert "yaml.load(" not in text, path
            # What people write is read in one place, by a SafeLoader of its own: test_yaml.py tries to have code run.
            assert "Loader" not in text or "import yaml" not in text or path == ROOT / "sft/config/yaml.py", path
            assert "pickle" not in imports(path), path
