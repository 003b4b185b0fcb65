"""prefect.yaml for real: deployed to a server, triggered by name, run by a worker of type process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

ROOT = Path(__file__).parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))


@pytest.fixture
def variables(home: Path, prefect_server: None) -> dict[str, str]:
    return {
        **os.environ,
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "PREFECT_HOME": str(home / "prefect"),
        "PYTHONWARNINGS": "ignore",
    }


def prefect(variables: dict[str, str], *args: str) -> str:
    process = subprocess.run(
        [PREFECT, "--no-prompt", *args], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture
def worker(variables: dict[str, str], home: Path) -> Iterator[None]:
    prefect(variables, "work-pool", "create", "sft", "--type", "process", "--overwrite")
    prefect(variables, "deploy", "--all")
    with (home / "worker.txt").open("w") as log:
        command = [PREFECT, "worker", "start", "--pool", "sft", "--prefetch-seconds", "0"]
        process = subprocess.Popen(command, cwd=home, env=variables, stdout=log, stderr=log)
    yield
    process.terminate()
    process.wait(30)


def test_a_triggered_run_of_the_smoke_deployment_ends_with_a_model(
    variables: dict[str, str], worker: None, home: Path
) -> None:
    config = {
        "profile": "smoke",
        "dataset": {"digits": {"train_rows": 32, "held_out_rows": 4}},
        "train": {"max_steps": 4, "save_steps": 2, "logging_steps": 1},
        "output": {"folder": str(home / "models")},
    }
    prefect(variables, "deployment", "run", "sft/smoke", "--param", f"config={json.dumps(config)}")
    end = time.monotonic() + 150
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("sft/smoke")
        while True:
            runs = [run for run in client.read_flow_runs() if run.deployment_id == deployment.id]
            states = {run.state_name for run in runs}
            if states & {"Completed", "Failed", "Crashed", "Cancelled"}:
                break
            assert time.monotonic() < end, (states, (home / "worker.txt").read_text())
            time.sleep(0.5)
    assert states == {"Completed"}, (home / "worker.txt").read_text()
    (folder,) = (home / "models").iterdir()
    assert (folder / "report.html").exists()


def test_the_nightly_deployment_has_its_schedule_and_runs_one_at_a_time(
    variables: dict[str, str], worker: None
) -> None:
    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name("sft/nightly")
        (schedule,) = nightly.schedules
        assert getattr(schedule.schedule, "cron", "") == "0 2 * * *"
        assert getattr(schedule.schedule, "timezone", "") == "Europe/Berlin"
        assert nightly.global_concurrency_limit is not None
        assert nightly.global_concurrency_limit.limit == 1
        schema = nightly.parameter_openapi_schema
        assert "learning_rate" in json.dumps(schema), "the UI shows a form of the configuration"
