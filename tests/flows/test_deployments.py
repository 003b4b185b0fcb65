"""prefect.yaml for real: deployed to a server, submitted by forms and by name, run by a worker, looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from cli.planning import plan_table
from flows.deployments import REMEDY, carried, resolve
from sft.config import RunConfig, load
from tests.support import looks
from tests.support.browser import CHROMIUM, MISSING, Form, Looker, looking
from tests.support.prefect_server import ROOT, Server
from tests.support.printed import write_printed

ENDED = {"Promoted", "Refused", "Finished", "Completed", "Failed", "Crashed", "Cancelled"}
NEW, OLD = "/v2", ""  # Prefect's two interfaces: its start page leads to the new one
PROFILES = ("smoke", "full", "lora", "nightly")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("prefect")
    with Server(home) as started, looks.lent(home / "state" / "volumes" / "outputs"):
        started.variables["SFT_HOME"] = str(home / "state")
        started.wait()
        started.prefect("work-pool", "create", "sft", "--type", "process")
        started.prefect("deploy", "--all")
        yield started


@pytest.fixture
def deployments(server: Server) -> Iterator[dict[str, str]]:
    """The deployments' ids by name. The runs that a test makes are removed before a worker could take them."""
    yield {name: server.ask("GET", f"/deployments/name/sft/{name}")["id"] for name in PROFILES}
    for run in server.ask("POST", "/flow_runs/filter"):
        if not run["auto_scheduled"]:  # for the nights to come
            server.ask("DELETE", f"/flow_runs/{run['id']}")


def would_run(run: dict[str, Any]) -> RunConfig:
    """The configuration that the flow would take from a run that the server has made."""
    resolved, refused = resolve(run["parameters"]["config"], run["deployment_version"])
    assert refused is None
    return resolved.config


def newest(server: Server, deployment: str) -> dict[str, Any]:
    """The newest run of a deployment that was not made by its schedule."""
    runs = server.ask("POST", "/flow_runs/filter", deployments={"id": {"any_": [deployment]}})
    run: dict[str, Any] = max((r for r in runs if not r["auto_scheduled"]), key=lambda r: str(r["created"]))
    return run


def change(form: Form, name: str) -> str:
    """Change one field of a deployment's form; returns the setting of ``sft run`` that does the same."""
    if name == "smoke":
        form.field("Epochs").fill("3")
        return "train.epochs=3"
    if name == "full":
        form.kind("Max Steps", "int")
        form.field("Max Steps").fill("100")
        return "train.max_steps=100"
    if name == "lora":
        form.kind("Lora", "None")
        return "train.lora=null"
    form.field("Max Hours").fill("")
    return "budget.max_hours=null"


@pytest.mark.skipif(not CHROMIUM, reason=MISSING)
def test_what_a_form_shows_is_what_the_profile_says_and_what_runs(
    server: Server, deployments: dict[str, str], home: Path
) -> None:
    with looking(server.root, home) as looker:
        form = Form(looker.page, server.root)
        for name, ui in zip(PROFILES, (NEW, OLD, NEW, OLD), strict=True):
            as_it_is = load(name).config
            form.open(ui, deployments[name])
            assert form.field("Learning Rate").input_value() == _as_browsers_write(as_it_is.train.learning_rate)
            assert would_run(form.created_by("Submit")) == as_it_is, name
            form.again("Custom run")
            setting = change(form, name)
            assert would_run(form.created_by("Submit")) == load(name, [setting]).config, name
            form.again("")
            assert would_run(form.created_by("Quick run")) == as_it_is, name
        # A run that was given one value, copied in the interface: nothing is added that nobody asked for.
        for name, ui in (("nightly", NEW), ("smoke", OLD)):
            one = {"config": {"train": {"epochs": 3}}}
            run = server.ask("POST", f"/deployments/{deployments[name]}/create_flow_run", parameters=one)
            form.copy(ui, run["id"])
            assert would_run(form.created_by("Submit")) == load(name, ["train.epochs=3"]).config, name


def _as_browsers_write(value: float) -> str:
    return re.sub(r"e-0*", "e-", repr(value)) if value < 1e-6 else f"{value:.7f}".rstrip("0")


def test_a_run_by_name_is_the_profiles_with_and_without_parameters(server: Server, deployments: dict[str, str]) -> None:
    for name in ("full", "nightly"):
        server.prefect("deployment", "run", f"sft/{name}")
        assert would_run(newest(server, deployments[name])) == load(name).config
    some = {"train": {"epochs": 3}, "dataset": {"rules": {"duplicate": "off"}}}
    server.prefect("deployment", "run", "sft/lora", "--param", f"config={json.dumps(some)}")
    wanted = load("lora", ["train.epochs=3", "dataset.rules.duplicate=off"])
    assert would_run(newest(server, deployments["lora"])) == wanted.config
    resolved, _ = resolve(some, carried("lora")["version"])
    lines = {key: (value, source) for key, value, source in resolved.lines()}
    assert lines["train.epochs"] == ("3.0", "parameter")
    assert lines["train.learning_rate"] == ("0.0005", "lora.yaml")
    assert all(would_run(night) == load("nightly").config for night in nights(server, deployments["nightly"]))


WRONG: tuple[tuple[str, str], ...] = (
    ('{"train": {"epochs": -1}}', "config.train.epochs"),
    ('{"train": {"epocs": 3}}', "epocs"),
    ('{"engine": 7}', "config.engine"),
    ('{"evaluate": {"shards": 1000}}', "config.evaluate.shards"),
)


@pytest.mark.parametrize(("config", "said"), WRONG)
def test_a_wrong_value_is_refused_when_it_is_submitted(
    server: Server, deployments: dict[str, str], config: str, said: str
) -> None:
    """Prefect checks parameters against the deployment's schema: no run is made, and no worker started, to say no."""
    place = f"/deployments/{deployments['full']}"
    mine = {"id": {"any_": [deployments["full"]]}}
    before = server.ask("POST", "/flow_runs/count", deployments=mine)
    with pytest.raises(httpx.HTTPStatusError) as refused:
        server.ask("POST", f"{place}/create_flow_run", parameters={"config": json.loads(config)})
    assert refused.value.response.status_code == 409
    assert said in refused.value.response.text
    assert server.ask("POST", "/flow_runs/count", deployments=mine) == before


def nights(server: Server, nightly: str) -> list[dict[str, Any]]:
    """The runs that the schedule has made; the server makes them some seconds after the deployment."""
    end = time.monotonic() + 60
    while True:
        runs = server.ask("POST", "/flow_runs/filter", deployments={"id": {"any_": [nightly]}})
        if found := [run for run in runs if run["auto_scheduled"]]:
            return found
        assert time.monotonic() < end
        time.sleep(0.5)


def test_a_deployed_run_ends_with_a_model_and_the_ui_shows_it_at_a_glance(
    server: Server, deployments: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = write_printed(home / "data", "printed", 24, seed=1)
    check_nightly(server.ask("GET", "/deployments/name/sft/nightly"))
    worker = server.start("worker", "start", "--pool", "sft", "--prefetch-seconds", "0")
    try:
        config = {
            "dataset": {"digits": {"train_rows": 64, "held_out_rows": 12}, "guard": {"printed": str(printed)}},
            "train": {"max_steps": 20, "save_steps": 10, "logging_steps": 2},
            "promote": {"min_rows": 5},
            "output": {"folder": str(home / "models")},
        }
        server.prefect("deployment", "run", "sft/smoke", "--param", f"config={json.dumps(config)}")
        run = ended_run(server, "sft/smoke")
        assert run["state_name"] == "Refused", (server.home / "worker.txt").read_text()
        assert "guard printed against base: error 0." in run["state"]["message"], (
            "it was better, and has unlearned print"
        )
        (report,) = (home / "models").glob("smoke-*/report.html")
        monkeypatch.setenv("SFT_HOME", server.variables["SFT_HOME"])
        assert report.parent.name.removeprefix("smoke-") in planned(settings_of(config))
        compare_by_deployment(server, config, home)
        refuse_what_has_changed(server, home)
    finally:
        worker.terminate()
        worker.wait(30)
    if not CHROMIUM:
        pytest.skip(MISSING)
    with looking(server.root, home / "screenshots") as looker:
        mine = {"flow_run_id": {"any_": [run["id"]]}}
        artifacts = {e["key"]: e["id"] for e in server.ask("POST", "/artifacts/filter", artifacts=mine)}
        look_at_the_run(looker, run, artifacts)
        look_at_the_form(looker, deployments["smoke"])


def settings_of(config: dict[str, Any], prefix: str = "") -> list[str]:
    """The same values as settings of ``sft run``."""
    found = []
    for key, value in config.items():
        nested = isinstance(value, dict)
        found += settings_of(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}={value}"]
    return found


def planned(settings: list[str]) -> str:
    """What ``sft plan smoke`` says of the same run: it has been done, with these identities."""
    console = Console(width=200)
    with console.capture() as said:
        console.print(plan_table(load("smoke", settings).config))
    return said.get()


def compare_by_deployment(server: Server, config: dict[str, Any], home: Path) -> None:
    """Base and training on the held-out rows, by the other flow's deployment: nothing is read that was read before."""
    (training,) = (Path(server.variables["SFT_HOME"]) / "volumes" / "outputs" / "runs").iterdir()
    values = {"models": ["base", training.name], "config": {"dataset": config["dataset"], "output": config["output"]}}
    given = [part for key, value in values.items() for part in ("--param", f"{key}={json.dumps(value)}")]
    server.prefect("deployment", "run", "evaluate/smoke", *given)
    run = ended_run(server, "evaluate/smoke")
    assert run["state_name"] == "Completed", (server.home / "worker.txt").read_text()
    assert f"{training.name} is " in run["state"]["message"]
    assert run["name"] == f"base, {training.name}"
    (record,) = (home / "models" / "evaluations").glob("held_out-*/report.json")
    assert json.loads(record.read_text())["rows"] == 12


def refuse_what_has_changed(server: Server, home: Path) -> None:
    """A profile is deployed, then changed: its run costs nothing and says what to do, and the doctor says it too."""
    mine, file = home / "mine.yaml", home / "prefect.yaml"
    mine.write_text((ROOT / "configs" / "smoke.yaml").read_text().replace("max_steps: 520", "max_steps: 7"))
    text = (ROOT / "prefect.yaml").read_text().partition("  - name: full")[0]
    file.write_text(text.replace("name: smoke\n", "name: mine\n").replace("name: smoke}}", f"name: {mine}}}}}"))
    server.prefect("deploy", "--all", "--prefect-file", str(file))
    assert "ok" in doctor(server, mine)
    mine.write_text(mine.read_text().replace("max_steps: 7", "max_steps: 8"))
    server.prefect("deployment", "run", "sft/mine")
    run = ended_run(server, "sft/mine")
    assert run["state_name"] == "Failed"
    assert "has changed since it was deployed" in run["state"]["message"]
    assert REMEDY in run["state"]["message"]
    said = doctor(server, mine)
    assert "FAILED  sft/mine" in said
    assert REMEDY in said


def doctor(server: Server, mine: Path) -> str:
    command = [str(Path(sys.executable).with_name("sft")), "doctor", str(mine), "--quick"]
    return subprocess.run(command, env=server.variables, capture_output=True, text=True, timeout=120).stdout


def ended_run(server: Server, deployment: str) -> dict[str, Any]:
    end, identity = time.monotonic() + 240, server.ask("GET", f"/deployments/name/{deployment}")["id"]
    while True:
        mine = {"id": {"any_": [identity]}}  # the nights to come are scheduled already
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
    looker.open(f"/runs/flow-run/{run['id']}", run["state_name"], "10 Task runs", "sft")
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
        "guard printed against base",
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
