"""A model that is not on the Hub is said before anything starts; a Hub that does not answer refuses nothing."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from compute.local import LocalCompute
from runs import on_hub
from runs.on_hub import check_base_model, check_named
from sft.config import load
from sft.errors import InputError
from sft.plan import download_args
from sft.store import records
from tests.support import modal_runs
from tests.support.hub_server import hub_of
from tests.support.modal_runs import SFT

MINE = ["base_model.source=hub", "base_model.family=0.9B", "base_model.repo=team/receipts"]


def test_what_the_hub_does_not_have_is_refused_and_what_is_on_the_volume_is_not_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, config = LocalCompute(home / "state"), load("smoke", MINE).config
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with hub_of("team/other") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(InputError, match=r"base_model\.repo: the Hub has no such model.*team/receipts"):
            check_base_model(config, compute)
        with pytest.raises(InputError, match=r"2 problems:(.|\n)*no such model(.|\n)*no such revision"):
            check_named(config, compute, ["champion", "team/receipts", "team/other@v9", "team/other"])
        asked = subprocess.run(
            [SFT, "evaluate", "team/receipts", "base", "held-out"], cwd=home, capture_output=True, text=True, timeout=60
        )
        assert (asked.returncode, "the Hub has no such model" in asked.stderr) == (2, True), asked.stderr
        assert list(compute.calls.iterdir()) == [], "nothing was started"
        hub.token = "hf_team"
        with pytest.raises(InputError, match="no stranger"):
            check_named(config, compute, ["team/other"])
        monkeypatch.setenv("HF_TOKEN", "hf_team")
        check_named(config, compute, ["team/other"])
        hub.gated = True
        hub.status = 500
        check_base_model(config, compute)  # it says nothing for certain
        hub.status = 0
        hub.requests.clear()
        folder = download_args(config).folder
        place = compute.volumes.models / folder
        place.mkdir(parents=True)
        (place / "a").write_bytes(b"a")
        records.write_record(place, {"name": folder, "identity": "i", "files": {"a": {"size": 1, "sha256": "0"}}})
        check_base_model(config, compute)
        assert not hub.requests


def test_a_hub_that_is_away_or_silent_refuses_nothing_and_takes_no_longer_than_it_may(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, config = LocalCompute(home / "state"), load("smoke", MINE).config
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    check_base_model(config, compute)
    monkeypatch.setattr(on_hub, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        check_base_model(config, compute)
        assert 0.2 < time.monotonic() - began < 10, "it waits for a server that never answers"


def test_at_modal_a_secret_may_see_more_than_a_stranger(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the secret the containers are strangers, and the Hub's no is theirs; with it that is open."""
    with modal_runs.serving(home / "server") as server, hub_of("team/other") as hub:
        rows = ["--set", "dataset.train=a.jsonl", "--set", "dataset.held_out=b.jsonl"]
        for name in ("a", "b"):
            (home / f"{name}.jsonl").write_text('{"messages": [], "images": []}\n')
        mine = [part for each in MINE for part in ("--set", each)]

        def plan() -> str:
            more = {"HF_ENDPOINT": hub.url}
            return modal_runs.sft(server, home, "plan", "full", *rows, *mine, more=more, timeout=60).stderr

        assert "the Hub has no such model" in plan()
        server.secrets["huggingface"] = {"HF_TOKEN": "hf_team"}
        assert "the Hub has no such model" not in plan()
