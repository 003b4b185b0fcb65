"""What every test may use: a folder of its own as state, and one real Prefect server for all tests that need it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sft.models.second_reader import VARIABLE
from tests.support import looks

# No test talks to the world; Prefect's server reads this when it starts.
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens there; tests of the Hub bring a server of their own
# A shell lets what it starts in the background ignore Ctrl-C, and the processes that tests interrupt inherit that.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with its own state folder; nothing of the machine's state is seen or changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SFT_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def one_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch is not looked for, for tests that say nothing of it: whoever reads, compares or looks at a model's export
    beside Paddle takes ten seconds of two processors. test_end_to_end, test_deployments, test_evaluate_models,
    test_doubtful and the first test of test_modal have it.
    """
    monkeypatch.setenv(VARIABLE, "")


@pytest.fixture
def one_look(home: Path) -> Iterator[None]:
    """The rows of a training that another test looked at are not looked at again: see tests/support/looks.py."""
    with looks.lent(home / "state" / "volumes" / "outputs"):
        yield


def pytest_unconfigure() -> None:
    """The run is over, in each of its processes; the last one has nothing to remove."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(looks.SHARED, ignore_errors=True)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server with a database of its own."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


class Dataset:
    """A small dataset in a folder, row by row under the test's control."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def image(self, name: str, shade: int = 0, size: tuple[int, int] = (56, 28)) -> str:
        """Write an image of one shade; returns its name as it stands in a row."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, shade).save(path)
        return f"./{name}"

    def row(self, image: str, text: str = "42", **changes: Any) -> dict[str, Any]:
        """A good row in ERNIEKit's format; ``changes`` replace its keys."""
        row: dict[str, Any] = {
            "image_info": [{"matched_text_index": 0, "image_url": image}],
            "text_info": [{"text": "OCR:", "tag": "mask"}, {"text": text, "tag": "no_mask"}],
        }
        return {**row, **changes}

    def write(self, name: str, rows: list[Any]) -> Path:
        """Write the rows; a bytes row is written as it is."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """An empty dataset folder."""
    return Dataset(tmp_path / "dataset")
