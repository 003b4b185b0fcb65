"""The real TensorBoard with the arguments that are deployed: no file stays open, and new points appear."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from cli.temporary_server import free_port
from sft.training.events import TENSORBOARD, Board

Steps = Callable[[], list[int]]


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[tuple[Steps, psutil.Process]]:
    """Asks the server which steps it knows of the run's loss."""
    port = free_port()
    # The last one counts: looking every second keeps the test short.
    command = [*TENSORBOARD, "--logdir", str(tmp_path), "--port", str(port), "--reload_interval", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def known() -> list[int]:
            address = f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=run&tag=loss"
            try:
                answer = httpx.get(address)
                return [point[1] for point in answer.json()] if answer.status_code == 200 else []
            except (httpx.TransportError, json.JSONDecodeError):
                return []

        try:
            yield known, psutil.Process(process.pid)
        finally:
            process.terminate()


def wait_for(known: Steps, expected: list[int]) -> None:
    end = time.monotonic() + 60
    while (found := known()) != expected:
        assert time.monotonic() < end, found
        time.sleep(0.1)


def test_no_event_file_stays_open_and_new_points_appear(tmp_path: Path, steps: tuple[Steps, psutil.Process]) -> None:
    """A volume at Modal is not shown anew while a process of the container has one of its files open."""
    known, process = steps
    board = Board(tmp_path / "run")
    board.add(1, {"loss": 2.0})
    assert open_files(psutil.Process(), tmp_path) == [], "the writer keeps its file open"
    wait_for(known, [1])
    Board(tmp_path / "run", start=1).add(2, {"loss": 1.0})  # the training goes on: a second file
    wait_for(known, [1, 2])
    end = time.monotonic() + 3  # a look that is under way may have it open for a moment
    while open_files(process, tmp_path):
        assert time.monotonic() < end, open_files(process, tmp_path)
        time.sleep(0.01)


def test_files_of_one_second_stand_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    """TensorBoard 2.20 goes through a folder's files by name and does not come back (DirectoryWatcher)."""
    made: list[str] = []
    for step in range(20):
        Board(tmp_path, start=step)
        made += [path.name for path in tmp_path.iterdir() if path.name not in made]
    assert made == sorted(made)


def open_files(process: psutil.Process, folder: Path) -> list[str]:
    family = [process, *process.children(recursive=True)]
    return [file.path for one in family for file in one.open_files() if file.path.startswith(str(folder))]
