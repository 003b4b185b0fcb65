"""prefect.yaml key by key: Prefect accepts a misspelt key and deploys something else."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from cronsim import CronSim
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint

ROOT = Path(__file__).parents[1]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS: list[dict[str, Any]] = FILE["deployments"]
KEYS = {
    "name",
    "description",
    "entrypoint",
    "parameters",
    "work_pool",
    "concurrency_limit",
    "schedules",
}


def test_the_deployments_are_the_four_profiles() -> None:
    assert set(FILE) == {"name", "prefect-version", "deployments"}
    assert [d["name"] for d in DEPLOYMENTS] == ["smoke", "full", "lora", "nightly"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_every_key_is_one_that_prefect_reads(deployment: dict[str, Any]) -> None:
    assert set(deployment) <= KEYS
    assert {"name", "description", "entrypoint", "parameters", "work_pool"} <= set(deployment)
    assert deployment["work_pool"] == {"name": "sft"}
    for schedule in deployment.get("schedules", []):
        assert set(schedule) == {"cron", "timezone", "slug", "active"}
        assert CronSim(schedule["cron"], __import__("datetime").datetime.now())
    if "concurrency_limit" in deployment:
        assert set(deployment["concurrency_limit"]) == {"limit", "collision_strategy"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_the_entrypoint_imports_and_takes_the_parameters(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    flow: Flow[..., Any] = load_flow_from_entrypoint(deployment["entrypoint"])
    assert flow.name == "sft"
    bound = flow.validate_parameters(deployment["parameters"])
    assert bound["config"].profile == deployment["name"]
    assert bound["config"].name == deployment["name"]
