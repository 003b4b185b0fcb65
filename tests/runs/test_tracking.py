"""Trackers, as their own servers and files have it: what is sent, once, later, bounded in time, and without secrets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import cli.run
from cli.base import app
from compute.local import LocalCompute
from runs.ledger import Entry
from runs.outbox import flush, keep
from runs.tracked import gathered
from sft.config import RunConfig, load
from sft.errors import ConfigError, InputError, SftError, TransientError
from sft.store import champions, records
from sft.tracking import VARIABLE
from sft.tracking.document import points
from tests.support.trackers import CLIENTS, SERVED, MlflowServer, read

assert cli.run, "imported, so that every command is registered"
FIRST, SECOND = "a" * 64, "b" * 64
SECRETS = {
    "MLFLOW_TRACKING_TOKEN": "PLANTED-mlflow-token",
    "MLFLOW_TRACKING_PASSWORD": "PLANTED-mlflow-password",
    "WANDB_API_KEY": "PLANTED" + "w" * 33,
    "SWANLAB_API_KEY": "PLANTED-swanlab-key",
    "HF_TOKEN": "hf_PLANTEDaaaaaaaaaaaaaaaa",
}
SCORES = {"rows": 9, "cer": 0.2, "error": 0.25, "wer": 0.5, "ned": 0.2, "exact": 0.1, "structure": None}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """MLflow's server; it is not started yet."""
    made = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of all kinds around the test; W&B and SwanLab write files instead of sending."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("SWANLAB_MODE", "offline")


def configured(*track: str, name: str = "pages") -> RunConfig:
    return load("smoke", [f"name={name}", *(f"track.{one}" for one in track)]).config


def curve(compute: LocalCompute, identity: str, steps: int, began: float = 1e9) -> None:
    lines = [
        {"step": n, "loss": 1 / n, "learning_rate": 0.1, "rate": 2.0, "time": began + n} for n in range(1, steps + 1)
    ]
    run = compute.volumes.run(identity)
    records.write_text(run / "metrics.jsonl", "".join(f"{records.canonical(line)}\n" for line in lines))
    records.write_json(run / "dev" / "step-2.json", {"step": 2, "scores": {"all": SCORES}})


def finished(compute: LocalCompute, identity: str, name: str = "pages", began: float = 1e9) -> None:
    """The records of a training that was evaluated and promoted, as the jobs write them."""
    curve(compute, identity, 4, began)
    run, scored = compute.volumes.run(identity), {**SCORES, "intervals": {"cer": [0.1, 0.3]}}
    spec = {"learning_rate": 0.1, "max_steps": 4}
    record: dict[str, Any] = {
        "identity": identity,
        "name": name,
        "engine": "paddleformers",
        "engine_version": "1",
        "spec": spec,
    }
    record |= {"dataset": "d", "steps": 4, "seconds": 4.0, "finished": 1e9 + 5, "model_identity": "m", "model": {}}
    records.write_record(run, record)
    folder = f"{run.relative_to(compute.volumes.outputs).as_posix()}/evaluation/e"
    change = {"value": -0.1, "low": -0.2, "high": -0.05, "better": 0.99}
    evaluation: dict[str, Any] = {"models": ["base", "tuned"], "rows": 9, "folder": folder, "finished": 1e9 + 9}
    evaluation |= {"base": {"all": scored}, "tuned": {"all": scored, "table": scored}, "args": {}}
    records.write_record(run / "evaluation" / "e", evaluation | {"differences": {"base": {"all": {"cer": change}}}})
    records.write_text(run / "evaluation" / "e" / "report.html", f"<html>report of {identity}</html>")
    check = {"name": "rows", "passed": True, "found": "9", "needed": "5"}
    decision = {"promoted": True, "checks": [check], "over": "", "time": 1e9 + 10, "rows": ["k"]}
    records.write_json(compute.volumes.outputs / f"champions/{name}/decisions/{identity[:16]}-x.json", decision)
    serve(compute, identity, name)


def serve(compute: LocalCompute, identity: str, name: str = "pages") -> None:
    folder = compute.volumes.outputs / champions.place(name)
    champions.swap(folder, name=name, identity=identity, model_identity="m", by="gate", over="")


def entry(identity: str, **more: Any) -> Entry:
    values: dict[str, Any] = {
        "id": "r",
        "name": "pages",
        "started": 1e9,
        "outcome": "completed",
        "identity": identity,
        "trained": True,
    }
    return Entry(**{**values, "engine": "paddleformers", "cost": 1.5, "currency": "EUR", **more})


def told(config: RunConfig, compute: LocalCompute, one: Entry, *, again: bool = False) -> list[SftError]:
    keep(config, compute, gathered(config, compute, one), again=again)
    return flush(config, compute, lambda text: None)


def waiting(compute: LocalCompute) -> list[str]:
    return sorted(path.name for path in compute.volumes.outputs.glob("tracking/*/outbox/*.json"))


def planted(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and b"PLANTED" in path.read_bytes()]


@CLIENTS
@SERVED
def test_mlflow_has_each_training_once_also_when_it_was_down(home: Path, server: MlflowServer) -> None:
    compute, config = LocalCompute(home / "state"), configured(f"mlflow={server.url}")
    curve(compute, FIRST, 2)
    (missed,) = told(config, compute, entry(FIRST, outcome="failed", error="the loss diverges"))
    assert isinstance(missed, TransientError)
    assert "MLflow cannot be reached" in str(missed)
    assert "sft track" in missed.remedy
    assert waiting(compute) == [f"{FIRST[:16]}.json"]

    server.start()
    assert flush(config, compute, lambda text: None) == []
    (run,) = server.shown("pages")["runs"]
    assert (run["status"], run["tags"]["sft.error"]) == ("FAILED", "the loss diverges")
    assert run["metrics"]["train/loss"] == [[1, int(1000 * (1e9 + 1)), 1.0], [2, int(1000 * (1e9 + 2)), 0.5]]
    assert waiting(compute) == []

    finished(compute, FIRST, began=1e9 + 50)  # it was trained anew from its first step, and has passed the gate
    assert told(config, compute, entry(FIRST)) == []
    assert told(config, compute, entry(FIRST), again=True) == []  # as if the machine had died before it was noted
    assert not keep(config, compute, gathered(config, compute, entry(FIRST))), "nothing has changed"
    shown = server.shown("pages")
    (run,) = shown["runs"]
    assert run["status"] == "FINISHED"
    assert [step for step, _, _ in run["metrics"]["train/loss"]] == [1, 2, 3, 4], "a step stands there once"
    assert [(step, value) for step, _, value in run["metrics"]["dev/cer"]] == [(2, 0.2)]
    scores = {
        name: run["metrics"][name][0][2] for name in ("tuned/cer_low", "tuned/table/cer", "tuned_minus_base/cer_high")
    }
    assert scores == {"tuned/cer_low": 0.1, "tuned/table/cer": 0.2, "tuned_minus_base/cer_high": -0.05}
    assert len(run["metrics"]["tuned/cer"]) == 1
    assert (run["params"]["train.batch_size"], run["params"]["spec.learning_rate"]) == ("16", "0.1")
    assert run["report"] == f"<html>report of {FIRST}</html>"
    assert {"configuration.json", "decision.json", "model"} <= set(run["artifacts"])
    assert (run["tags"]["sft.identity"], run["tags"]["sft.cost"]) == (FIRST, "1.50 EUR")
    assert shown["versions"][shown["aliases"]["champion"]] == {"sft.identity": FIRST}
    assert not planted(home) + planted(server.folder)


@CLIENTS
@SERVED
def test_the_alias_follows_promotion_and_rollback_and_never_goes_back_by_itself(
    home: Path, server: MlflowServer
) -> None:
    server.stop()
    server.start()  # what it has outlives it
    compute, track = LocalCompute(home / "state"), ("--set", f"track.mlflow={server.url}", "--set", "name=served")
    config = configured(f"mlflow={server.url}", name="served")
    for identity in (FIRST, SECOND):
        finished(compute, identity, "served")
        assert told(config, compute, entry(identity)) == []
    shown = server.shown("served")
    assert shown["aliases"] == {"champion": "2"}
    folder = compute.volumes.outputs / champions.place("served")
    (compute.volumes.run(FIRST) / "model").mkdir()
    back = CliRunner().invoke(app, ["rollback", "smoke", *track])
    assert back.exit_code == 0, back.output
    assert champions.read(folder).number == 3  # type: ignore[union-attr]
    shown = server.shown("served")
    assert shown["versions"]["1"] == {"sft.identity": FIRST}
    assert (shown["aliases"], len(shown["versions"]), len(shown["runs"])) == ({"champion": "1"}, 2, 2)

    elsewhere = LocalCompute(home / "elsewhere")  # a state that has missed the rollback, as an outbox of yesterday has
    for identity in (FIRST, SECOND):
        finished(elsewhere, identity, "served")
    assert told(config, elsewhere, entry(SECOND)) == []
    assert server.shown("served")["aliases"] == {"champion": "1"}
    done = CliRunner().invoke(app, ["track", "smoke", *track])
    assert "nothing waits" in done.output, done.output
    again = CliRunner().invoke(app, ["track", "smoke", SECOND[:16], *track])
    assert f"{server.url}/#/experiments/" in again.output, again.output
    assert len(server.shown("served")["runs"]) == 2


@CLIENTS
def test_wandb_and_swanlab_write_one_run_by_the_trainings_identity(home: Path) -> None:
    compute, config = LocalCompute(home / "state"), configured("wandb=me/ocr", "swanlab=me/ocr")
    finished(compute, FIRST)
    assert told(config, compute, entry(FIRST)) == []
    assert told(config, compute, entry(FIRST)) == [], "nothing has changed, nothing is sent"
    (path,) = (home / "state" / "tracking" / "wandb").glob("wandb/offline-run-*/run-*.wandb")
    said = read("wandb", str(path))
    assert (said["id"], said["entity"], said["project"]) == (FIRST[:16], "me", "ocr")
    assert [(line["_step"], line["train/loss"], line["_timestamp"]) for line in said["lines"]][:2] == [
        (1, 1.0, 1e9 + 1),
        (2, 0.5, 1e9 + 2),
    ]
    assert said["lines"][1]["dev/cer"] == 0.2
    assert (said["summary"]["tuned/cer_high"], said["summary"]["decision"]) == (0.3, "promoted over the base")
    assert (said["config"]["spec.learning_rate"], said["config"]["identity"]) == ("0.1", FIRST)
    assert said["artifacts"] == [f"report-{FIRST[:16]}"]
    (path,) = (home / "state" / "tracking" / "swanlab").glob("run-*/run-*.swanlab")
    found = read("swanlab", str(path))["records"]
    start = next(one["start"] for one in found if "start" in one)
    assert (start["id"], start["workspace"], start["project"]) == (FIRST[:16], "me", "ocr")
    scalars = {
        (one["scalar"]["key"], one["scalar"]["step"]): one["scalar"]["value"]["number"]
        for one in found
        if "scalar" in one
    }
    assert (scalars["train/loss", "2"], scalars["train/time", "2"]) == (0.5, 1e9 + 2)
    assert (scalars["dev/cer", "2"], scalars["tuned/cer_low", "4"]) == (0.2, 0.1)
    assert [page.read_text() for page in path.parent.rglob("*.html")] == [f"<html>report of {FIRST}</html>"]
    assert not planted(home)


@CLIENTS
def test_a_tracker_that_hangs_holds_nobody_and_hears_no_secret_but_its_own(home: Path) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    one, _ = listening.accept()
                    one.settimeout(5)
                    heard.append(one.recv(65536))  # and no answer, ever
                    open_ones.append(one)
                except OSError:
                    return

        open_ones: list[socket.socket] = []
        threading.Thread(target=accept, daemon=True).start()
        compute = LocalCompute(home / "state")
        config = configured(f"mlflow=http://127.0.0.1:{listening.getsockname()[1]}", "wait=0.15")
        finished(compute, FIRST)
        began = time.monotonic()
        (missed,) = told(config, compute, entry(FIRST))
        assert time.monotonic() - began < 25
        listening.shutdown(socket.SHUT_RDWR)
        for one in open_ones:
            one.close()
    assert isinstance(missed, TransientError)
    assert "has not taken everything in 9 s" in str(missed)
    assert "PLANTED" not in str(missed)
    assert waiting(compute) == [f"{FIRST[:16]}.json"]
    sent = b"".join(heard)
    assert b"Authorization: " in sent, "its own token is what it is asked with"
    assert not [value for name, value in SECRETS.items() if "MLFLOW" not in name and value.encode() in sent]
    assert not planted(home)


def test_without_the_clients_one_message_names_the_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    compute, config = LocalCompute(home / "state"), configured("mlflow=http://127.0.0.1:9", "wandb=me/ocr")
    finished(compute, FIRST)
    (missed,) = told(config, compute, entry(FIRST))
    assert isinstance(missed, InputError)
    assert missed.remedy == "run make trackers, then sft track smoke"
    assert waiting(compute) == [f"{FIRST[:16]}.json"]


@pytest.mark.parametrize(
    "wrong",
    ["mlflow=http://me:PLANTED@host", "mlflow=http://host?token=PLANTED", "mlflow=mlruns", "wandb=ocr", "wait=0"],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(wrong: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(wrong)
    assert "PLANTED" not in str(refused.value)


def test_lines_of_before_get_their_times_by_the_rate_and_a_step_stands_once() -> None:
    lines: list[dict[str, Any]] = [{"step": s, "loss": 1.0, "learning_rate": 0.1, "rate": 2.0} for s in (2, 4, 4, 6)]
    assert [(p["step"], p["time"]) for p in points(lines, 100.0)] == [(2, 98.0), (4, 99.0), (6, 100.0)]
    assert [p["time"] for p in points([lines[0], {**lines[1], "time": 50.0}], 100.0)] == [49.0, 50.0]
