"""What hosts the flow: when, for how much, with which versions, and what becomes of it when its process ends oddly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cli.hosting import costs, schedule
from modal_infra.image import ROOMS
from modal_infra.names import HOST, HOURLY, NIGHT, app_name, function_name
from modal_infra.recipes import RECIPES
from sft.environments import pins
from tests import test_architecture
from tests.test_prefect_yaml import DEPLOYMENTS

ROOT = Path(__file__).parents[2]


def test_nights_are_when_prefect_yaml_says() -> None:
    (nightly,) = (d for d in DEPLOYMENTS if d["name"] == "nightly")
    assert schedule() == (nightly["schedules"][0]["cron"], nightly["schedules"][0]["timezone"])


def test_the_price_of_an_hour_is_the_one_that_the_page_says() -> None:
    (said,) = re.findall(r"\*\*about ([\d.]+) USD an hour\*\*", (ROOT / "docs" / "nights.md").read_text())
    assert f"{HOURLY:.2f}" == said
    assert f"about {said} USD an hour" in costs()


def test_the_host_has_the_orchestrators_prefect_and_no_paddle() -> None:
    here = dict(line.split("==", 1) for line in (ROOT / "requirements.lock").read_text().splitlines())
    there = pins("night")
    for package in ("prefect", "prefect-email", "modal", "pydantic", "typer", "rich", "sqlalchemy"):
        assert there[package] == here[package], package
    assert pins("light").items() - there.items() == set(), "what a job has, in the same versions"
    assert not [package for package in there if "paddle" in package or package == "torch"]


def test_each_command_of_an_image_is_one_line() -> None:
    """It becomes a Dockerfile's RUN, which ends with its line."""
    for steps in RECIPES.values():
        assert not [command for step in steps for command in step.commands if "\n" in command]


def test_the_orchestrators_code_is_all_in_the_image_and_imports_no_trainer() -> None:
    assert set(ROOMS) == set(test_architecture.ROOMS)
    body = "import cli.hosted, cli.run, flows.fine_tune, sys; print({'paddle', 'sklearn', 'torch'} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-W", "ignore", "-c", body], cwd=ROOT, capture_output=True, text=True)
    assert process.stdout == "set()\n", process.stderr


def test_the_host_is_an_app_of_its_own() -> None:
    assert (app_name(HOST), function_name(HOST, "erniekit")) == (NIGHT, "host")
