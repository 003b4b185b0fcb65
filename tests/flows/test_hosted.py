"""Runs whose flow is hosted at Modal: the stand-in's containers run the real entrypoint, and nobody waits for them."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import get_current_settings
from prefect.states import Cancelling

from modal_infra.names import HOST
from sft.smoke import digits
from tests.compute.test_modal import trainings
from tests.support import looks, modal_runs
from tests.support.living import standing_still, trainers
from tests.support.modal_runs import SFT, environment, sft, write_wheels
from tests.support.modal_server import Container, ModalServer
from tests.support.mounting import CAN_MOUNT

pytestmark = [
    pytest.mark.skipif(not CAN_MOUNT, reason="unshare --mount is not permitted here: volumes cannot be mounted"),
    pytest.mark.usefixtures("prefect_server", "one_reader"),
]
DEPLOY = """
import sys
from pathlib import Path
from cli.deploying import deploy_all, put_wheel
from cli.hosting import deploy_night
for wheel in sys.argv[1:]: put_wheel(Path(wheel))
deploy_all(print)
deploy_night(print, None, "", "")
"""
SETTINGS = [
    "compute=modal",
    "modal.gpu=none",
    "dataset.digits.train_rows=400",
    "dataset.digits.held_out_rows=32",
    "train.logging_steps=1",
    "promote.check_rows=4",
    "promote.task_worse=1",
    "promote.runaway=1",
    "promote.empty=1",
    "promote.cut=1",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalServer]:
    """A server with everything deployed, what hosts flows too."""
    home = tmp_path_factory.mktemp("deployed")
    with modal_runs.serving(home / "server") as server:
        command = [sys.executable, "-c", DEPLOY, *write_wheels(home)]
        process = subprocess.run(command, cwd=home, env=environment(server, home), capture_output=True, text=True)
        assert process.returncode == 0, process.stdout + process.stderr
        assert "no nights" in process.stdout
        assert "USD an hour" in process.stdout
        server.reschedules = True
        with looks.lent(server.volumes_folder / "vo-paddleocr-vl-outputs"):
            yield server


def options(*more: str) -> list[str]:
    return [part for setting in [*SETTINGS, *more] for part in ("--set", setting)]


def wait_until(seen: Callable[[], Any], server: ModalServer, seconds: float = 180) -> Any:
    """What ``seen`` says once it is true; the hosts' logs if it never is."""
    end = time.monotonic() + seconds
    while not (found := seen()):
        logs = "\n".join(call.log.decode() for call in hosts(server))
        assert time.monotonic() < end, logs
        time.sleep(0.05)
    return found


def hosts(server: ModalServer) -> list[Any]:
    """The calls that host a flow."""
    return [call for call in server.calls.values() if server.bound.get(call.function_id, call.function_id) == "fu-host"]


def ledger(server: ModalServer) -> list[dict[str, Any]]:
    folder = server.volumes_folder / "vo-paddleocr-vl-outputs" / "ledger"
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def working(server: ModalServer, text: str) -> Container:
    """The container of the newest hosted call, once its log says ``text`` again."""
    call = hosts(server)[-1]
    seen = call.log.count(text.encode())
    wait_until(lambda: call.log.count(text.encode()) > seen, server)
    container: Container | None = call.container
    assert container is not None
    return container


def trainers_of(server: ModalServer) -> list[psutil.Process]:
    """The trainer in the container of the newest training."""
    container = server.calls[trainings(server)[-1]].container
    assert container is not None
    return trainers(container.processes)


def test_the_doctor_knows_the_app_that_hosts(server: ModalServer, home: Path) -> None:
    """Whether it is deployed, from which code, with which secret; and when the next night is."""
    cpu = options()[:4]
    outputs = server.volumes_folder / "vo-paddleocr-vl-outputs"
    note, secrets = outputs / "hosted" / "deployed.json", dict(server.secrets)

    def found(*only: str) -> str:
        said = sft(server, home, "doctor", "smoke", *cpu, *only)
        (line,) = [line for line in said.stdout.splitlines() if line[8:].startswith("night ")]
        return " ".join(line.split())

    server.secrets.pop("prefect", None)
    assert found() == "ok night the code that lies here; no nights; its runs have a Prefect of their own"
    known = json.loads(note.read_text())
    note.write_text(json.dumps({**known, "profile": "nightly", "cron": "30 3 1 1 *", "timezone": "Europe/Berlin"}))
    assert "nights of nightly, the next one 20" in (line := found("--check", "night"))
    assert "-01-01 03:30 Europe/Berlin" in line
    note.write_text(json.dumps({**known, "code": "x", "profile": "nightly", "cron": "0 2 * * *"}))
    line = found("--check", "night")
    assert line == "FAILED night other code is deployed than lies here Next: sft deploy nightly --night"
    note.write_text(json.dumps({**known, "reports": True}))
    assert "with the secret prefect, and it is gone" in found("--check", "night")
    note.write_text(json.dumps(known))
    server.secrets.clear()
    server.secrets.update(secrets)


def started_and_killed(server: ModalServer, home: Path, *settings: str) -> None:
    """``sft run --hosted``, killed as soon as Modal has the call."""
    command = [SFT, "run", "smoke", "--hosted", *options(*settings)]
    with (home / "starter.txt").open("w") as log:
        starter = subprocess.Popen(command, cwd=home, env=environment(server, home), stdout=log, stderr=log)
    end = time.monotonic() + 120
    while not hosts(server):
        assert starter.poll() is None, (home / "starter.txt").read_text()
        assert time.monotonic() < end, (home / "starter.txt").read_text()
        time.sleep(0.01)
    starter.send_signal(signal.SIGKILL)
    starter.wait()


def states(name: str = "sft") -> list[str]:
    """Names of the states of the server's flow runs, the oldest first."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(sort=FlowRunSort.START_TIME_ASC)
    return [str(run.state_name) for run in runs if run.deployment_id is None]


def test_a_run_is_promoted_though_its_starter_is_killed_and_its_host_is_taken_away(
    server: ModalServer, home: Path
) -> None:
    """The starter by SIGKILL, its host by a preemption and then by a crash; Prefect is a server of the team's."""
    server.secrets["prefect"] = {"PREFECT_API_URL": str(get_current_settings().api.url)}
    before = len(states())
    started_and_killed(server, home, "train.max_steps=40", "train.save_steps=10")
    host = working(server, "checkpoint-10 is complete")
    with standing_still(trainers_of(server)):  # or it is done before anybody comes
        host.preempt()
        working(server, "attached to call").kill()
    (call,) = hosts(server)
    wait_until(call.done.is_set, server)
    (entry,) = ledger(server)
    assert entry["outcome"] == "completed", call.log.decode()
    assert (entry["decision"], entry["containers"], entry["hosted"]) == ("promoted", 3, call.id)
    assert len(trainings(server)) == 1, "one training, whoever followed it"
    outputs = server.volumes_folder / "vo-paddleocr-vl-outputs"
    notes = [json.loads(path.read_text()) for path in (outputs / "usage").glob("*/*.json")]
    mine = [note for note in notes if (note["call_id"], note["job"], note["gpu"]) == (call.id, "host", "host")]
    assert len({note["part"] for note in mine}) == len(mine) == 3, "each container has noted what it used"
    assert call.id in entry["calls"]
    assert entry["spent"]["host"]["calls"] == 3
    assert entry["spent"]["host"]["seconds"] > 0
    assert states()[before:] == ["Crashed", "Crashed", "Promoted"], "each container is a run of Prefect's"
    (run,) = (outputs / "runs").iterdir()
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 41)), "each step was trained once"
    assert not (home / "models").exists(), "nobody was there to take it"
    assert not (run / "synced.json").exists(), "sft cleanup may not think that somebody has a copy"
    somebody_else(server, home, entry["identity"])


def somebody_else(server: ModalServer, home: Path, identity: str) -> None:
    """What another machine of the team's sees, and gets."""
    other = home / "other"
    other.mkdir()
    seen = sft(server, other, "history", "smoke", "--set", "compute=modal", "--set", "modal.gpu=none")
    assert "promoted" in seen.stdout, seen.stderr
    assert identity[:16] in seen.stdout
    listed = sft(server, other, "status", "smoke", "--set", "compute=modal", "--set", "modal.gpu=none")
    assert "champion of smoke" in listed.stdout, listed.stderr
    assert "hosted at Modal now" not in listed.stdout
    calls = len(server.calls)
    variables = {"PREFECT_API_URL": str(get_current_settings().api.url)}
    same = sft(server, other, "run", "smoke", *options("train.max_steps=40", "train.save_steps=10"), more=variables)
    assert same.returncode == 0, same.stdout + same.stderr
    assert "nothing is trained" in same.stdout
    assert len(server.calls) == calls, "all had been done by the hosted run"
    assert list((other / "models").glob("smoke-*/model/model.safetensors")), "the model has come"


def test_a_night_goes_on_in_the_next_container_and_is_cancelled_from_anywhere(server: ModalServer, home: Path) -> None:
    """A schedule starts it; its containers may work for some seconds only; Prefect is its own. Then one by its call."""
    server.secrets.pop("prefect", None)
    digits.write_dataset(home / "digits", train_rows=64, held_out_rows=32, seed=1)
    sent = sft(server, home, "upload", "digits/train.jsonl", "digits/held_out.jsonl", "--as", "night")
    assert sent.returncode == 0, sent.stderr
    endless = options("train.max_steps=100000", "dataset.digits=null", "dataset.volume=named/night", "name=nights")
    wrong = {"notify.blocks=[slack-webhook/us]": "those of your Prefect", "dataset.volume=no": "no finished"}
    for setting, said in wrong.items():
        refused = sft(server, home, "deploy", "smoke", "--night", *endless, "--set", setting)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stdout + refused.stderr
        assert "deploying" not in refused.stdout
    done = sft(server, home, "deploy", "smoke", "--night", "--cron", "30 3 * * *", *endless)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nights of smoke: 30 3 * * * Europe/Berlin" in done.stdout
    cron = server.functions[f"fu-{HOST}"].schedule.cron
    assert (cron.cron_string, cron.timezone) == ("30 3 * * *", "Europe/Berlin")
    server.environment = {"SFT_HOST_SECONDS": "40"}
    trained, before = len(trainings(server)), len(ledger(server))
    night = server.calls[server.fire(HOST)]
    wait_until(lambda: b"train: started call" in night.log, server)
    server.environment = {}  # the container after this one may work for as long as it likes
    with standing_still(trainers_of(server)):  # it would take a processor from whoever looks
        wait_until(lambda: b"attached to call" in night.log, server)
        again = server.calls[server.fire(HOST)]
        wait_until(again.done.is_set, server)
        assert "this run works already" in again.log.decode()
        listed = sft(server, home, "history", "smoke", *endless)
        assert "hosted at Modal now: nights-" in listed.stdout, listed.stderr
    cancelled = sft(server, home, "cancel", "--profile", "smoke", *endless)
    assert cancelled.returncode == 0, cancelled.stderr
    assert "is stopped" in cancelled.stdout
    wait_until(night.done.is_set, server)
    assert night.failures > 0
    assert len(trainings(server)) - trained == 1, "the next container attached to the training, nobody resumed it"
    assert ledger(server)[-1]["outcome"] == "cancelled"
    assert ledger(server)[-1]["containers"] == 1 + night.failures

    started = sft(server, home, "run", "smoke", "--hosted", *endless)
    assert started.returncode == 0, started.stdout + started.stderr
    call = hosts(server)[-1]
    wait_until(lambda: b"train: started call" in call.log, server)
    same = sft(server, home, "run", "smoke", "--hosted", *endless)
    assert f"hosted already: call {call.id}" in same.stdout, same.stderr
    ended = sft(server, home, "cancel", call.id, "--profile", "smoke", *endless)
    assert "asked to end" in ended.stdout, ended.stderr
    wait_until(call.done.is_set, server)
    training = server.calls[trainings(server)[-1]]
    assert training.done.is_set(), "its training works on, and nobody looks after it"
    assert [entry["outcome"] for entry in ledger(server)[before:]] == ["cancelled", "cancelled"]
    database = server.volumes_folder / "vo-paddleocr-vl-outputs" / "prefect" / "nights.db"
    with closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as kept:
        found = kept.execute("select state_name from flow_run order by start_time").fetchall()
    crashed = ["Crashed"] * night.failures
    assert [name for (name,) in found] == [*crashed, "Cancelled", "Cancelled"], "kept across all containers"


def test_a_run_that_cannot_reach_prefect_is_in_the_ledger_with_the_reason(server: ModalServer, home: Path) -> None:
    """Nobody sees its process fail: the secret names a server that is not there."""
    server.secrets["prefect"] = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_API_KEY": "pnu_unspoken"}
    trained = len(trainings(server))
    started = sft(server, home, "run", "smoke", "--hosted", *options("name=unheard"))
    assert started.returncode == 0, started.stdout + started.stderr
    call = hosts(server)[-1]
    wait_until(call.done.is_set, server)
    entry = ledger(server)[-1]
    assert (entry["name"], entry["outcome"], entry["hosted"]) == ("unheard", "failed", call.id), call.log.decode()
    assert "Prefect's API does not answer" in entry["error"]
    assert len(trainings(server)) == trained
    assert "pnu_unspoken" not in call.log.decode() + json.dumps(entry)


def test_a_hosted_run_is_cancelled_in_prefects_ui(server: ModalServer, home: Path) -> None:
    """By what the UI's button asks the server for. Its sets lie on the volume: its container has them validated."""
    rows = server.volumes_folder / "vo-paddleocr-vl-data" / "mine"
    digits.write_dataset(rows, train_rows=64, held_out_rows=32, seed=1)
    sets = {"train": "train", "held_out": "held_out", "guard.mine": "held_out"}
    placed = [f"dataset.{key}=volume://mine/{name}.jsonl" for key, name in sets.items()]
    server.secrets["prefect"] = {"PREFECT_API_URL": str(get_current_settings().api.url)}
    endless = ["train.max_steps=100000", "name=stopped", "dataset.digits=null", "dataset.dev_share=0.2", *placed]
    started = sft(server, home, "run", "smoke", "--hosted", *options(*endless))
    assert started.returncode == 0, started.stdout + started.stderr
    call = hosts(server)[-1]
    wait_until(lambda: b"train: started call" in call.log, server)
    assert b"guard mine: held_out: 32 rows, 32 images, no errors" in call.log
    assert b"64 training and 32 held-out rows" in call.log
    with get_client(sync_client=True) as client:
        run = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0]
        assert run.name.startswith("smoke stopped ")
        client.set_flow_run_state(run.id, Cancelling())
    wait_until(call.done.is_set, server, 60)
    assert states()[-1] == "Cancelled"
    assert ledger(server)[-1]["outcome"] == "cancelled"
    assert server.calls[trainings(server)[-1]].done.is_set()
