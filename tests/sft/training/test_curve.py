"""The curve is written while another thread commits, and a commit may reload: the volume appears empty meanwhile."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from sft.engines.base import Progress
from sft.store import reloads
from sft.training.curve import METRICS, Curve
from sft.training.events import EVENTS


def test_a_step_that_is_told_during_a_reload_is_kept(tmp_path: Path) -> None:
    """As by Modal's guide to volumes ("While a reload is in progress the Volume will appear empty")."""
    run, away = tmp_path / "volume" / "run", tmp_path / "away"
    run.mkdir(parents=True)
    curve = Curve(run)
    curve.begin(0)
    curve.add(Progress(step=1, loss=1.0, learning_rate=0.1, rate=1.0))
    run.rename(away)
    thread = threading.Timer(0.5, lambda: away.rename(run))
    thread.start()
    curve.add(Progress(step=2, loss=0.9, learning_rate=0.1, rate=1.0))
    thread.join()
    assert [json.loads(line)["step"] for line in (run / METRICS).read_text().splitlines()] == [1, 2]
    (events,) = (run / EVENTS).iterdir()
    assert events.read_bytes().count(b"learning_rate") == 2


def test_a_folder_that_stays_away_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloads, "EMPTY", 0.3)
    curve = Curve(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        curve.add(Progress(step=1, loss=1.0, learning_rate=0.1, rate=1.0))
