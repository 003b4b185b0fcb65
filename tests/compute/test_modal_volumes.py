"""Modal's volumes as they are: slow, lost and refused commits, busy reloads, and what each of them once did here.

The rules of the stand-in, and where each comes from, are in tests/support/modal_volumes.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sft.store import champions, lease, records
from sft.store.volumes import REMOVING, SYNCED
from tests.support.modal_runs import environment, sft
from tests.support.modal_server import PROJECT, ModalServer
from tests.support.mounting import CAN_MOUNT
from tests.support.web_server import MEGABYTE, serving

pytestmark = pytest.mark.skipif(not CAN_MOUNT, reason="unshare --mount is not permitted here: nothing can be mounted")


def run(server: ModalServer, home: Path, script: str, *args: str) -> str:
    command = [sys.executable, "-c", script, *args]
    variables = {**environment(server, home), "PYTHONPATH": str(PROJECT)}
    process = subprocess.run(command, cwd=home, env=variables, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


EXAMPLE = """
import json
from tests.support import modal_example as example
with example.app.run():
    print(json.dumps([
        example.g.remote(), example.f.remote(), example.g.remote(reload=False), example.g.remote(reload=True),
        example.busy.remote(), example.works_there.remote(),
    ]))
"""


def test_the_example_of_modals_guide_says_what_the_guide_says(server: ModalServer, home: Path) -> None:
    """Of the guide: what ``g`` prints before the commit, before its reload (in its container, which is reused), and
    behind it; and that a reload fails with "volume busy" while a file is open.
    """
    server.rules.background = None
    said = json.loads(run(server, home, EXAMPLE))
    assert said[:4] == ["does not exist", "committed", "does not exist", "hello"]
    assert all(text.startswith("volume busy: there are open files") for text in said[4:]), said
    assert "open file" in said[4]


def test_a_wheel_arrives_in_time_where_a_commit_takes_longer_than_a_chunk(server: ModalServer, home: Path) -> None:
    """It took 30 times as long as its download: each chunk was followed by a commit."""
    run(server, home, SETUP)
    server.rules.commit_seconds = 2.0
    with serving() as site:
        site.files["/w.whl"] = bytes(6 * MEGABYTE)
        site.seconds_per_megabyte = 0.7
        begun = time.monotonic()
        said = json.loads(run(server, home, FETCH, f"{site.url}/w.whl"))
    assert said["size"] == 6 * MEGABYTE
    assert time.monotonic() - begun < 25
    assert (server.folder("vo-paddleocr-vl-models") / "wheels" / "w.whl").stat().st_size == 6 * MEGABYTE


SETUP = """
from modal_infra.app import setup
setup.deploy()
"""
FETCH = """
import json, sys
import modal
from modal_infra.names import SETUP
fetch = modal.Function.from_name(SETUP, "download_wheel")
outcome = fetch.remote({"path": "wheels/w.whl", "url": sys.argv[1]})
print(json.dumps(outcome["value"]))
"""
BESIDE = """
import json, sys
import modal
from modal_infra.names import SETUP
first, second = (modal.Function.from_name(SETUP, name).spawn(args) for name, args in json.loads(sys.argv[1]))
print(json.dumps([first.get(), second.get()]))
"""


def finished_run(server: ModalServer, identity: str) -> Path:
    """What a training has left on the volume that any machine has synced."""
    place = server.folder("vo-paddleocr-vl-outputs") / "runs" / identity[:16]
    (place / "model").mkdir(parents=True)
    (place / "model" / "model.safetensors").write_bytes(identity.encode() * 1000)
    (place / "trainer" / "checkpoint-1").mkdir(parents=True)
    (place / "trainer" / "checkpoint-1" / "weights").write_bytes(bytes(1000))
    (place / SYNCED).write_text("{}")
    model = records.manifest(place / "model")
    records.write_record(place, {"name": "n", "finished": 0.0, "model": model, "model_identity": identity, "steps": 1})
    return place


@pytest.mark.parametrize("first", ["promote", "cleanup"])
def test_a_cleanup_beside_a_promotion_never_removes_the_champion(server: ModalServer, home: Path, first: str) -> None:
    """Commits take 3 s, and what was not committed is gone with the next reload."""
    run(server, home, SETUP)
    server.rules.commit_seconds, server.rules.reload_drops, server.rules.background = 3.0, True, None
    outputs = server.folder("vo-paddleocr-vl-outputs")
    runs = {letter: finished_run(server, letter * 64) for letter in "abc"}
    records.write_json(outputs / "champions" / "gone" / lease.FILE, {"call_id": "fc-gone", "heartbeat": 0, "fence": 3})
    calls: list[tuple[str, dict[str, Any]]] = [
        ("promote", {"name": "n", "identity": "b" * 64, "by": "hand"}),
        ("cleanup", {"keep": 0, "older_than": 0, "models": True, "dry_run": False}),
    ]
    calls.sort(key=lambda call: call[0] != first)
    outcomes = dict(zip((name for name, _ in calls), json.loads(run(server, home, BESIDE, json.dumps(calls)))))
    champion = champions.read(outputs / "champions" / "n")
    if outcomes["promote"]["ok"]:
        assert champion is not None
        assert champion.identity == "b" * 64
        record = records.read_record(runs["b"])
        assert record is not None
        assert not records.broken_files(runs["b"] / "model", record["model"])
    else:  # the cleanup was first, and has removed it: there is no champion without a model
        assert outcomes["promote"]["error"]["type"] in {"TransientError", "IntegrityError"}
        assert champion is None
    told = {entry["run"]: entry for entry in outcomes["cleanup"]["value"]["runs"]}
    for letter, place in runs.items():
        gone = told[letter * 16]["kept"] == ""
        assert gone != (place / records.RECORD).exists(), "its report is what is there afterwards"
        assert told[letter * 16]["removed"] > 64_000 or not gone
    assert not list(outputs.rglob(REMOVING)), "what was written down to be removed is done or withdrawn"
    assert not list(outputs.rglob(lease.FILE)), "leases of calls that have ended are given back"


RUN = (
    *("compute=modal", "modal.gpu=none", "dataset.digits.train_rows=64", "dataset.digits.held_out_rows=4"),
    *("train.max_steps=9", "train.save_steps=3", "train.warmup_steps=2", "train.logging_steps=1"),
    *("promote.min_rows=2", "promote.check_rows=4"),
)


@pytest.mark.usefixtures("prefect_server", "one_reader")
def test_a_whole_run_where_everything_is_slow_busy_or_lost(deployed: ModalServer, home: Path) -> None:
    """Commits take half a second and reload afterwards, answers to them are lost, volumes appear empty meanwhile."""
    deployed.rules.commit_seconds, deployed.rules.reload_seconds = 0.5, 0.2
    deployed.rules.reload_after_commit, deployed.rules.background = True, None
    deployed.cut.update({"VolumeCommit": 3, "VolumeReload": 3})
    settings = [part for setting in RUN for part in ("--set", setting)]
    process = sft(deployed, home, "run", "smoke", *settings)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Traceback" not in process.stdout + process.stderr
    (place,) = (deployed.folder("vo-paddleocr-vl-outputs") / "runs").iterdir()
    record = records.read_record(place)
    assert record is not None
    assert not records.broken_files(place / "model", record["model"])
    steps = [json.loads(line)["step"] for line in (place / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 10))
    (best,) = (place / "best").iterdir()
    assert (best / "config.json").exists()
    assert not list(best.glob("optimizer*")), "no hard links here: a copy of what a reader needs"
    again = sft(deployed, home, "run", "smoke", *settings)
    assert again.returncode == 0, again.stdout + again.stderr
    assert sum("train" in call.function_id for call in deployed.calls.values()) == 1
