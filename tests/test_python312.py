"""sft/ runs under Python 3.12 in Modal's images: its tests run under both."""

import subprocess
from pathlib import Path

import pytest

from sft.environments import IMPORTS, statement

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv312" / "bin" / "python"
NAMES = (
    *("config", "rows", "validate", "metrics", "records", "checkpoints", "lease", "plan", "report"),
    *(
        "lines",
        "scan",
        "headers",
        "texts",
        "tables",
        "held_out",
        "convert",
        "split",
        "repeats",
        "gate",
        "pages",
        "export",
    ),
)
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="make found no Python 3.12 on this machine")


def test_the_domain_passes_its_tests_under_python_312() -> None:
    found = [path for name in NAMES for path in sorted((ROOT / "tests" / "sft").rglob(f"test_{name}.py"))]
    files = [str(path) for path in found if path.parent.name != "torch_trainer"]  # torch has an environment of its own
    assert len(files) >= len(NAMES), files
    # What is slow there is arithmetic, which no version of Python changes.
    slow = "not large_tables and not holds_the_rate and not drawn_together"
    command = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", slow, *files]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-5000:]


def test_every_module_of_the_domain_imports_under_python_312() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in ("sft", "modal_infra")
        for path in sorted((ROOT / room).rglob("*.py"))
    ]
    body = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    process = subprocess.run([str(PYTHON), "-c", body], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_containers_without_a_gpu_import_what_their_image_ends_with() -> None:
    body = statement(IMPORTS["light"]["deps"])
    process = subprocess.run([str(PYTHON), "-c", body], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
