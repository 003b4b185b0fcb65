"""promote.mode ask for real: a person is asked in Prefect's UI, at the terminal, by command; or nobody answers."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.settings import get_current_settings
from prefect.states import Cancelling

from cli.asking import user
from cli.history import history_table
from cli.serving import promote_by_hand, refuse_by_hand
from cli.status import questions
from compute.local import LocalCompute
from flows.fine_tune import fine_tune
from runs.ledger import Entry, read_ledger
from runs.results import champion
from sft.config import RunConfig, load
from sft.errors import InputError
from sft.models.second_reader import VARIABLE
from tasks import approve
from tests.support import looks
from tests.support.browser import CHROMIUM, MISSING, Approval, looking
from tests.support.modal_runs import SFT
from tests.support.prefect_server import Server

SETTINGS = [
    "dataset.digits.train_rows=64",
    "dataset.digits.held_out_rows=12",
    "train.max_steps=20",
    "train.save_steps=20",
    "train.logging_steps=5",
    "evaluate.batch_size=12",
    "promote.min_rows=5",
    "promote.confidence=0.5",
    "promote.task_worse=1",
    "promote.mode=ask",
]
PATIENCE = 90  # seconds
pytestmark = pytest.mark.usefixtures("one_reader")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Iterator[Path]:
    """A folder in which the training has finished: each test has a line of champions of its own, and trains nothing."""
    folder = tmp_path_factory.mktemp("asked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SFT_HOME", str(folder / "state"))
        patch.setenv(VARIABLE, "")  # as the fixture one_reader
        with looks.lent(folder / "state" / "volumes" / "outputs"):
            fine_tune(configuration("first", "promote.mode=never"))
        yield folder


def configuration(name: str, *more: str) -> RunConfig:
    return load("smoke", [*SETTINGS, f"name={name}", *more]).config


def run(name: str, *more: str) -> State[Any]:
    return fine_tune(configuration(name, *more), return_state=True)


def waiting(name: str) -> FlowRun:
    """The run of that line, once it waits."""
    end = time.monotonic() + PATIENCE
    with get_client(sync_client=True) as client:
        while time.monotonic() < end:
            for one in client.read_flow_runs():
                if one.state is not None and one.state.is_paused() and name in str(one.state.message):
                    return one
            time.sleep(0.3)
    raise AssertionError("no run waits")


def resumed(name: str, **said: str) -> str:
    """Fill in the form as its API does, once the run waits; what the server says."""
    one = waiting(name)
    with get_client(sync_client=True) as client:
        status = client.resume_flow_run(one.id, run_input=said)
    assert status.status in (SetStateStatus.ACCEPT, SetStateStatus.REJECT)
    return "" if status.status == SetStateStatus.ACCEPT else str(status.details)


def events(server_api: str, name: str, last: str) -> list[dict[str, Any]]:
    """The pipeline's events about a line of runs, the oldest first, once the ``last`` has come: the server writes
    events down every five seconds.
    """
    asked = {"filter": {"event": {"prefix": ["sft."]}, "resource": {"id_prefix": ["sft."]}}}
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = httpx.post(f"{server_api}/events/filter", json=asked, timeout=60).json()["events"]
        mine: list[dict[str, Any]] = [e for e in found[::-1] if e["payload"]["name"] == name]
        if mine and mine[-1]["event"] == last:
            return mine
        time.sleep(0.5)
    raise AssertionError(f"no {last}")


def last(place: Path) -> Entry:
    return read_ledger(LocalCompute(place / "state"))[-1]


def test_who_refuses_says_why_and_is_not_asked_again(place: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        ended: Future[str] = pool.submit(_refuse, "stamps")
        state = run("stamps")
    assert "'maybe' is not one of ['accept', 'refuse']" in ended.result()
    assert state.name == "Refused"
    assert "is refused by Ada: misses the stamps" in str(state.message)
    entry = last(place)
    assert (entry.decision, entry.decided_by, entry.reason) == ("refused", "Ada", "misses the stamps")
    assert champion(LocalCompute(place / "state"), "stamps") is None
    history = history_table(configuration("stamps"), 1)
    assert [list(column.cells) for column in history.columns][2] == ["refused by Ada: misses the stamps"]
    for more in ((), ("promote.mode=gate",)):
        again = run("stamps", *more)  # it would wait, and the test with it
        assert again.name == "Refused"
        assert "by Ada: misses the stamps" in str(again.message)
    (report,) = place.glob("models/stamps-*/report.html")
    assert "is refused by Ada: misses the stamps" in report.read_text()
    with pytest.raises(InputError, match="nobody waits"):
        refuse_by_hand(configuration("stamps"), entry.identity, "too late")
    api = str(get_current_settings().api.url)
    mine = [e["event"] for e in events(api, "stamps", "sft.refused")]
    assert mine == ["sft.asked", "sft.refused"], "once, and not again by those that found the decision"


def _refuse(name: str) -> str:
    said = resumed(name, decision="maybe", reason="x", who="Ada")
    assert resumed(name, decision="refuse", reason="misses the stamps", who="Ada") == ""
    return said


def test_what_nobody_answers_is_refused_and_asked_once_more(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = run("late", "promote.wait=0.0005")
    assert (state.name, "nobody answered within 0.0005 h" in str(state.message)) == ("Refused", True)
    assert (last(place).decided_by, last(place).decision) == ("nobody", "refused")
    monkeypatch.setattr(approve, "LOOK", 0.5)
    asked = "\n".join(questions(configuration("late")))
    assert f"training {last(place).identity[:16]} of late: sft promote smoke {last(place).identity[:16]} " in asked
    assert "--set name=late" in "\n".join(questions(configuration("another")))
    with ThreadPoolExecutor(1) as pool:
        decided = pool.submit(_by_command, "late", last(place).identity)
        state = run("late")
    decided.result()
    assert state.name == "Promoted"
    assert "of late" not in "\n".join(questions(configuration("late"))), "it is answered"
    entry, now = last(place), champion(LocalCompute(place / "state"), "late")
    assert now is not None
    assert (now.who, now.reason, now.by) == (user(), "read twenty pages", "gate")
    assert (entry.decision, entry.decided_by, entry.reason) == ("promoted", user(), "read twenty pages")


def _by_command(name: str, identity: str) -> None:
    waiting(name)
    promote_by_hand(configuration(name), identity, lambda text: None, force=False, because="read twenty pages")


def test_a_run_that_is_cancelled_while_it_waits_decides_nothing(place: Path) -> None:
    def cancel() -> None:
        one = waiting("cancelled")
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(one.id, Cancelling())

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(cancel)
        state = run("cancelled")
    done.result()
    assert state.is_cancelled()
    assert (last(place).outcome, last(place).decision) == ("cancelled", "")
    assert not list((place / "state/volumes/outputs/champions/cancelled").glob("decisions/*"))


def test_a_run_that_is_killed_while_it_waits_is_asked_again_by_the_next(place: Path) -> None:
    api = str(get_current_settings().api.url)
    before = len(list((place / "state" / "calls").glob("train-*")))
    with started(place, "killed", {"PREFECT_API_URL": api}) as process:
        one = waiting("killed")
        process.kill()
        process.wait(30)
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(_accept_another, "killed", one)
        state = run("killed")
    answered.result()
    assert state.name == "Promoted"
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(one.id).state_name == "Crashed"
    assert len(list((place / "state" / "calls").glob("train-*"))) == before, "nothing is trained anew"
    told = events(api, "killed", "sft.promoted")
    assert [event["event"] for event in told] == ["sft.asked", "sft.crashed", "sft.asked", "sft.promoted"]
    assert f"prefect.flow-run.{one.id}" in json.dumps(told[1]["related"])
    assert {event["resource"]["prefect.resource.id"] for event in told} == {f"sft.training.{last(place).identity}"}


def _accept_another(name: str, but: FlowRun) -> None:
    end = time.monotonic() + PATIENCE
    while (one := waiting(name)).id == but.id:
        assert time.monotonic() < end
        time.sleep(0.3)
    with get_client(sync_client=True) as client:
        client.resume_flow_run(one.id, run_input={"decision": "accept", "reason": "good", "who": "Ada"})


def started(place: Path, name: str, variables: Mapping[str, str], **streams: Any) -> subprocess.Popen[bytes]:
    settings = [part for one in (*SETTINGS, f"name={name}") for part in ("--set", one)]
    environment = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
    streams = streams or {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([SFT, "run", "smoke", *settings], cwd=place, env={**environment, **variables}, **streams)


def test_where_nobody_can_be_asked_the_command_that_decides_is_said(place: Path) -> None:
    home = {"PREFECT_HOME": str(place / "prefect")}
    process = started(place, "unasked", home)
    said = process.communicate(timeout=PATIENCE)[0].decode()
    assert process.returncode == 0, said
    identity = last(place).identity
    assert f"sft promote smoke {identity[:16]} --because WHY, or with --refuse" in said
    assert last(place).decision == "waiting"
    assert "refused by" in refuse_by_hand(configuration("unasked"), identity, "too few pages")[1]
    assert "too few pages" in str(run("unasked").message)


def test_at_a_terminal_it_is_asked_there(place: Path) -> None:
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    process = started(place, "typed", {"PREFECT_HOME": str(place / "prefect")}, **streams)
    os.close(theirs)
    try:
        said = _until(ours, "yes or no: ")
        for typed, then in (
            ("perhaps\n", "yes or no: "),
            ("y\n", "Why? "),
            ("\n", "Why? "),
            ("reads stamps\n", "CER on"),
        ):
            os.write(ours, typed.encode())
            said += _until(ours, then)
        said += _until(ours, "reads stamps")
        process.wait(PATIENCE)
    finally:
        process.kill()
        os.close(ours)
    now = champion(LocalCompute(place / "state"), "typed")
    assert now is not None, said
    assert (now.who, now.reason, process.returncode) == (user(), "reads stamps", 0)


def _until(terminal: int, text: str) -> str:
    """What a terminal shows until it shows the text."""
    said, end = "", time.monotonic() + PATIENCE
    while text not in said:
        ready, _, _ = select.select([terminal], [], [], 1)
        try:
            said += os.read(terminal, 65536).decode(errors="replace") if ready else ""
        except OSError:
            break
        assert time.monotonic() < end, said
    return said


@pytest.mark.skipif(not CHROMIUM, reason=MISSING)
def test_a_click_promotes(place: Path, tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.wait()
        process = started(place, "clicked", {"PREFECT_API_URL": f"{server.root}/api"})
        try:
            runs: list[dict[str, Any]] = []
            end = time.monotonic() + PATIENCE
            while not runs:
                assert time.monotonic() < end
                time.sleep(0.5)
                runs = [r for r in server.ask("POST", "/flow_runs/filter") if r["state_name"] == "Paused"]
            with looking(server.root, tmp_path / "screenshots") as looker:
                approval = Approval(looker.page, server.root)
                form = approval.open(runs[0]["id"])
                for text in ("passes the gate", "tuned minus", "better than base", "Report"):
                    form.get_by_text(text).first.wait_for()
                link = form.get_by_role("link", name="Report").get_attribute("href")
                assert Path(str(link).removeprefix("file://")).is_file()
                looker.keep("approval")
                approval.answer(form, "accept", "read twenty pages", "Ada")
                looker.sees("Promoted")
            said = process.communicate(timeout=PATIENCE)[0].decode()
        finally:
            process.send_signal(signal.SIGKILL)
        assert process.returncode == 0, said
        assert "promoted over the base by Ada: read twenty pages" in said
        entry, now = last(place), champion(LocalCompute(place / "state"), "clicked")
        assert now is not None
        assert (now.who, now.reason, entry.decided_by) == ("Ada", "read twenty pages", "Ada")
        seen = events(f"{server.root}/api", "clicked", "sft.promoted")
        assert [e["event"] for e in seen] == ["sft.asked", "sft.promoted"]
        assert f"prefect.flow-run.{runs[0]['id']}" in json.dumps(seen[1]["related"])
