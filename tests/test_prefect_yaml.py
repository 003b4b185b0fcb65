"""prefect.yaml key by key: Prefect accepts a misspelt key and deploys something else."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cronsim import CronSim
from prefect import Flow
from prefect.events.schemas.automations import Posture
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import from_qualified_name
from prefect.utilities.templating import apply_values

from flows.cleanup import cleanup
from flows.curve import curve
from flows.deployments import REMEDY, carried, profile, resolve
from flows.doctor import doctor
from flows.evaluate_models import evaluate_models
from flows.fine_tune import fine_tune
from flows.read_pages import read_pages
from flows.sweep import sweep
from sft.config import load
from sft.errors import ConfigError

ROOT = Path(__file__).parents[1]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS: list[dict[str, Any]] = FILE["deployments"]
FLOWS = {"fine_tune": "sft", "evaluate_models": "evaluate", "sweep": "sweep", "curve": "curve"}
FLOWS |= {"read_pages": "read", "cleanup": "cleanup", "doctor": "doctor"}
AUTOMATIONS = {"flows.automations.automations": {"id": "automations", "name": "nightly", "late": 4}}
KEYS = {
    "name",
    "description",
    "entrypoint",
    "build",
    "version",
    "parameters",
    "work_pool",
    "concurrency_limit",
    "schedules",
    "tags",
    "triggers",
}


def _name(deployment: dict[str, Any]) -> str:
    flow = FLOWS[deployment["entrypoint"].partition(":")[2]]
    return f"{flow}/{deployment['name']}"


def _profile(deployment: dict[str, Any]) -> str:
    named: str = deployment["build"][0]["flows.deployments.profile"]["name"]
    return named


def test_the_deployments_are_the_four_profiles_and_those_that_choose() -> None:
    assert set(FILE) == {"name", "prefect-version", "deployments"}
    of_flow: dict[str, list[str]] = {}
    for deployment in DEPLOYMENTS:
        of_flow.setdefault(deployment["entrypoint"].partition(":")[2], []).append(deployment["name"])
    trains = ["smoke", "full", "lora", "nightly"]
    chooses = {"evaluate_models": ["smoke", "full"], "sweep": ["full"], "curve": ["full"]}
    tends = {"read_pages": ["full"], "cleanup": ["weekly"], "doctor": ["full"]}
    assert of_flow == {"fine_tune": trains, **chooses, **tends}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=_name)
def test_every_key_is_one_that_prefect_reads(deployment: dict[str, Any]) -> None:
    assert set(deployment) <= KEYS
    always = {"name", "description", "entrypoint", "build", "version", "parameters", "work_pool", "tags"}
    assert always <= set(deployment)
    assert deployment["tags"] == ["sft", _profile(deployment)]
    for trigger in deployment.get("triggers", []):
        made = DeploymentEventTrigger.model_validate(trigger)
        assert set(trigger) <= set(DeploymentEventTrigger.model_fields)
        assert (made.posture, made.within.total_seconds()) == (Posture.Proactive, 600)
    assert deployment["work_pool"] == {"name": "sft"}
    for schedule in deployment.get("schedules", []):
        assert set(schedule) == {"cron", "timezone", "slug", "active"}
        assert CronSim(schedule["cron"], __import__("datetime").datetime.now())
    if "concurrency_limit" in deployment:
        assert set(deployment["concurrency_limit"]) == {"limit", "collision_strategy"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=_name)
def test_the_entrypoint_imports_and_takes_the_parameters(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    flow: Flow[..., Any] = load_flow_from_entrypoint(deployment["entrypoint"])
    assert flow.name == FLOWS[deployment["entrypoint"].partition(":")[2]]
    step, *more = deployment["build"]
    assert more == ([AUTOMATIONS] if deployment["name"] == "nightly" else [])
    ((place, inputs),) = step.items()
    made = {inputs["id"]: from_qualified_name(place)(inputs["name"])}
    filled = apply_values({"version": deployment["version"], "parameters": deployment["parameters"]}, made)
    bound = flow.validate_parameters(filled["parameters"])
    resolved, refused = resolve(bound["config"], filled["version"])
    assert refused is None
    assert resolved.config == load(_profile(deployment)).config


@pytest.mark.parametrize(
    "flow", [fine_tune, evaluate_models, sweep, curve, read_pages, cleanup, doctor], ids=lambda flow: flow.name
)
def test_the_form_fills_in_nothing_by_itself(flow: Flow[..., Any]) -> None:
    """A form sends its schema's defaults, and a switch's state, as if somebody had asked for them."""
    schema = parameter_schema(flow).model_dump_for_openapi()
    fields = [
        (name, field)
        for section in schema["definitions"].values()
        for name, field in section.get("properties", {}).items()
    ]
    assert len(fields) > 60
    for name, field in fields:
        assert "default" not in field, name
        assert "boolean" not in json.dumps(field), name
        assert field["title"], name


def test_another_profiles_name_in_a_filled_form_is_refused() -> None:
    made = carried("smoke")
    _, refused = resolve(made["config"] | {"profile": "full"}, made["version"])
    assert "those of the profile smoke" in str(refused)
    resolved, refused = resolve({"profile": "full"}, made["version"])  # nothing else is given: full is what is meant
    assert (resolved.config, refused) == (load("full").config, None)


@pytest.mark.parametrize("version", ["smoke 00000000", "64269e415313d5577cf662ae22e12eb6", None])
def test_a_deployment_of_another_time_is_refused(version: str | None) -> None:
    resolved, refused = resolve({"profile": "smoke"}, version)
    assert REMEDY in str(refused)
    assert resolved.config == load("smoke").config  # who is told
    with pytest.raises(ConfigError):
        resolve({"train": {"epochs": 3}}, "64269e415313d5577cf662ae22e12eb6")


def test_a_profile_that_is_wrong_ends_the_deployment_with_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        profile("fulll")
    assert ended.value.code == 2
    assert "did you mean full?" in capsys.readouterr().err
