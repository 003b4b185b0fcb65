"""prefect.yaml for real: deployed to a server, triggered by name, run by a worker, and looked at in a browser."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import CHROMIUM, MISSING, Looker, looking
from tests.support.prefect_server import Server

ENDED = {"Promoted", "Refused", "Finished", "Completed", "Failed", "Crashed", "Cancelled"}


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    with Server(home) as started:
        yield started


def test_a_deployed_run_ends_with_a_model_and_the_ui_shows_it_at_a_glance(server: Server, home: Path) -> None:
    server.wait()
    server.prefect("work-pool", "create", "sft", "--type", "process")
    server.prefect("deploy", "--all")
    check_nightly(server.ask("GET", "/deployments/name/sft/nightly"))
    server.processes.append(server.start("worker", "start", "--pool", "sft", "--prefetch-seconds", "0"))
    config = {
        "profile": "smoke",
        "dataset": {"digits": {"train_rows": 64, "held_out_rows": 12}},
        "train": {"max_steps": 20, "save_steps": 10, "logging_steps": 2},
        "promote": {"min_rows": 5},
        "output": {"folder": str(home / "models")},
    }
    server.prefect("deployment", "run", "sft/smoke", "--param", f"config={json.dumps(config)}")
    run = ended_run(server)
    assert run["state_name"] in ("Promoted", "Refused"), (home / "worker.txt").read_text()
    assert len(list((home / "models").glob("smoke-*/report.html"))) >= 1
    if not CHROMIUM:
        pytest.skip(MISSING)
    deployment = server.ask("GET", "/deployments/name/sft/smoke")["id"]
    with looking(server.root, home / "screenshots") as looker:
        artifacts = {entry["key"]: entry["id"] for entry in server.ask("POST", "/artifacts/filter")}
        look_at_the_run(looker, run, artifacts)
        look_at_the_form(looker, deployment)


def ended_run(server: Server) -> dict[str, Any]:
    end = time.monotonic() + 240
    while True:
        mine = {"name": {"any_": ["smoke"]}}  # the nights to come are scheduled already
        (run,) = server.ask("POST", "/flow_runs/filter", deployments=mine) or [{"state_name": ""}]
        if run["state_name"] in ENDED:
            found: dict[str, Any] = run
            return found
        assert time.monotonic() < end, (run["state_name"], (server.home / "worker.txt").read_text())
        time.sleep(0.5)


def check_nightly(nightly: dict[str, Any]) -> None:
    (schedule,) = nightly["schedules"]
    assert schedule["schedule"]["cron"] == "0 2 * * *"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    assert nightly["global_concurrency_limit"]["limit"] == 1
    assert "learning_rate" in json.dumps(nightly["parameter_openapi_schema"])


def look_at_the_run(looker: Looker, run: dict[str, Any], artifacts: dict[str, str]) -> None:
    looker.open("/runs", "smoke", run["state_name"])
    looker.open(f"/runs/flow-run/{run['id']}", run["state_name"], "9 Task runs", "sft")
    looker.sees("64 training and 12 held-out rows")  # of the log, which is drawn as far as it is in sight
    looker.keep("run", height=500)  # the graph; the log names folders of this machine
    looker.open(f"/artifacts/artifact/{artifacts['summary']}", "read pages", "training's call", "sft tensorboard smoke")
    looker.open(
        f"/artifacts/artifact/{artifacts['evaluation']}", "TEDS-S", "exactly right", "95 % interval", "% of draws"
    )
    looker.keep("evaluation")
    looker.open(
        f"/artifacts/artifact/{artifacts['decision']}",
        "better than base",
        "12 of 12 answers reproduced",
        "sft rollback smoke",
    )
    looker.keep("decision")
    looker.open(f"/artifacts/artifact/{artifacts['dataset']}", "held-out")
    looker.open(f"/artifacts/artifact/{artifacts['training-progress']}", "Training smoke: 20 steps", "100%")
    looker.open(f"/artifacts/artifact/{artifacts['loss-curve']}", "Training loss")
    picture = looker.page.locator("img[src^='data:image/svg']").first
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 100, "the curve is drawn"


def look_at_the_form(looker: Looker, deployment: str) -> None:
    looker.open(
        f"/deployments/deployment/{deployment}/run",
        "Peak learning rate",
        "How much better the candidate must be",
        "Hyperparameters",
    )
    looker.keep("form")
