"""Automations and slots on a real server: the server tells people, data starts a run, a slot comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.conftest import Dataset
from tests.support.inbox import Inbox, inbox
from tests.support.modal_runs import SFT
from tests.support.prefect_server import ROOT, Server

PROFILE = """profile: smoke
notify: {blocks: [custom-webhook/pager], on: []}
"""
DEPLOYMENT = """name: test
deployments:
  - name: mine
    entrypoint: flows/fine_tune.py:fine_tune
    build:
      - flows.deployments.profile: {id: profile, name: FILE}
      - flows.automations.automations: {id: automations, name: FILE, late: 0.003}
    version: "{{ profile.version }}"
    parameters: {config: "{{ profile.config }}"}
    work_pool: {name: sft}
    triggers: TRIGGERS
"""
# What ``sft run`` does while it trains on two GPUs, without the training: it holds a slot for each.
HOLDER = """
import sys, time
from pathlib import Path
from prefect import flow
from compute.local import LocalCompute
from tasks.slots import slot
@flow
def holder(seconds: float):
    with slot("gpus", LocalCompute(Path(sys.argv[1])), "train-none", 2):
        print("held", flush=True)
        time.sleep(seconds)
holder(float(sys.argv[2]))
"""
SUBJECTS = {"a run crashed", "the month nears its bound", "no run at its time"}
LEASED = 110  # seconds: a lease of 60, and the server looks for those that are over every 15


@pytest.fixture(scope="module")
def box() -> Iterator[Inbox]:
    with inbox() as box:
        yield box


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, box: Inbox) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("automations")
    with Server(home) as started:
        started.variables["SFT_HOME"] = str(home / "state")
        started.wait()
        with temporary_settings({PREFECT_API_URL: f"{started.root}/api"}):
            hook = CustomWebhookNotificationBlock(
                name="pager", url=box.url, method="POST", json_data={"subject": "{{subject}}", "body": "{{body}}"}
            )
            hook.save("pager")
        started.prefect("work-pool", "create", "sft", "--type", "process")
        started.prefect("gcl", "create", "gpus", "--limit", "3")
        (home / "mine.yaml").write_text(PROFILE)
        file = home / "prefect.yaml"
        file.write_text(DEPLOYMENT.replace("FILE", str(home / "mine.yaml")).replace("TRIGGERS", triggers()))
        for _ in range(2):  # the second time nothing is doubled
            started.prefect("deploy", "--all", "--prefect-file", str(file))
        yield started


def triggers() -> str:
    """The trigger of prefect.yaml, with 40 seconds for its ten minutes: a split takes 20 on a machine that is busy."""
    import yaml

    every = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (found,) = (deployment["triggers"] for deployment in every if "triggers" in deployment)
    assert found[0]["within"] == 600
    return json.dumps([{**found[0], "within": 40}])


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.5)
    return found


@contextmanager
def held(server: Server, home: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(home / "state"), str(seconds)]
    environment = {**server.variables, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def taken(server: Server) -> int:
    found: int = server.ask("GET", "/v2/concurrency_limits/gpus")["active_slots"]
    return found


def test_the_server_tells_people_new_data_starts_a_run_and_a_killed_runs_slot_is_freed(
    server: Server, box: Inbox, home: Path, dataset: Dataset
) -> None:
    with held(server, home, 600) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "held\n"
        assert taken(server) == 2
    killed_at = time.monotonic()
    with held(server, home, 0) as waits:
        automations_act(server, box, dataset)
        assert waits.stdout is not None
        assert waits.stdout.readline() == "held\n", "its process was killed, and its lease has expired"
        assert time.monotonic() - killed_at < LEASED
        assert waits.wait(30) == 0
    assert until(lambda: taken(server) == 0), "given back at the end"


def automations_act(server: Server, box: Inbox, dataset: Dataset) -> None:
    made = server.ask("POST", "/automations/filter")
    assert sorted(one["name"] for one in made) == [
        "new data is there, and none has come for ten minutes",
        "sft/mine: a run crashed",
        "sft/mine: no run at its time",
        "sft/mine: the month nears its bound",
    ]
    deployment = server.ask("GET", "/deployments/name/sft/mine")["id"]
    late, crashes = (
        server.ask("POST", f"/deployments/{deployment}/create_flow_run", parameters={})["id"] for _ in range(2)
    )
    for state in ("PENDING", "RUNNING", "CRASHED"):
        server.ask("POST", f"/flow_runs/{crashes}/set_state", state={"type": state, "message": "killed"}, force=True)
    for spent in (8.1, 8.2):
        payload = json.dumps({"name": "x", "spent": spent, "bound": 10, "currency": "USD"})
        server.prefect("event", "emit", "sft.budget", "--resource-id", "sft.month.2026-11", "--payload", payload)

    # Data that comes twice within the time is one run. An own script says it as prefect event emit does.
    rows = [dataset.row(dataset.image(f"{n}.png", shade=n), text=str(n)) for n in range(20)]
    dataset.write("all.jsonl", rows)
    command = [SFT, "split", str(dataset.folder / "all.jsonl")]
    done = subprocess.run(command, env=server.variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    own = {"occurred": datetime.now(UTC).isoformat(), "event": "sft.data.new", "id": str(uuid4()), "payload": {}}
    resource = {"prefect.resource.id": "sft.data.scanner"}
    httpx.post(f"{server.root}/api/events", json=[{**own, "resource": resource, "related": []}]).raise_for_status()

    def by_data() -> list[dict[str, Any]]:
        runs = server.ask("POST", "/flow_runs/filter", deployments={"id": {"any_": [deployment]}})
        return [run for run in runs if run["id"] not in (late, crashes)]

    (night,) = until(by_data, 120)
    assert night["tags"] == []

    def told(subject: str) -> list[str]:
        return [message["body"] for message in box.messages if message["subject"] == subject]

    crash = until(lambda: told("a run crashed"))[0]
    assert "crashed: killed" in crash
    assert f"/runs/flow-run/{crashes}" in crash
    # Each run that waits is told of; the others of this test may wait as well.
    missing = until(lambda: [body for body in told("no run at its time") if f"/runs/flow-run/{late}" in body])[0]
    assert "the run of mine has not begun" in missing
    assert until(lambda: told("the month nears its bound")) == ["8.1 of 10 USD this month"], "once a day"
    assert {message["subject"] for message in box.messages} <= SUBJECTS
    assert len(by_data()) == 1


def test_a_limit_that_is_not_there_is_said_before_anything_is_done(server: Server, home: Path) -> None:
    command = [SFT, "run", "smoke", "--set", "gpu_limit=gpu"]
    done = subprocess.run(command, cwd=home, env=server.variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "gpu_limit: Prefect's server has no such global concurrency limit (found gpu)" in done.stderr
    assert "prefect gcl create gpu --limit 1" in done.stderr
    assert not (home / "state" / "calls").exists()
