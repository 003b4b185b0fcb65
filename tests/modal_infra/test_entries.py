"""Leases in a Modal Dict, by the real client against the stand-in server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modal_infra.names import LEASES
from tests.support import modal_runs
from tests.support.modal_runs import environment
from tests.support.modal_server import ModalServer

RACE = """
import json, threading
from modal_infra.entries import DictEntries
from sft.errors import LeaseHeld
from sft.store.agreement import Claim
claims = [Claim(DictEntries(), "/outputs/runs/x", f"fc-{n}", lambda call: True) for n in range(6)]
told = {}
def race(n):
    try:
        told[n] = claims[n].take() > 0
    except LeaseHeld as held:
        told[n] = held.value
threads = [threading.Thread(target=race, args=(n,)) for n in range(len(claims))]
for thread in threads: thread.start()
for thread in threads: thread.join()
(winner,) = [n for n, said in told.items() if said is True]
claims[winner].check()
claims[winner].release()
after = Claim(DictEntries(), "/outputs/runs/x", "fc-late", lambda call: True)
later = after.take() > claims[winner].number
after.release()
losers = sorted({said for said in told.values() if said is not True})
print(json.dumps({"winner": f"fc-{winner}", "losers": losers, "later": later}))
"""
KEPT = """
import json
import modal
from modal_infra import entries
from sft.errors import LeaseHeld
from sft.store.agreement import Claim
claim = Claim(entries.DictEntries(), "/outputs/runs/x", "fc-1", lambda call: True)
claim.take()
entries.leases().hydrate().clear()
claim.check()
modal.Dict.objects.delete(entries.LEASES)
claim.check()
try:
    Claim(entries.DictEntries(), "/outputs/runs/x", "fc-2", lambda call: True).take()
except LeaseHeld as held:
    print(json.dumps(held.value))
"""
AWAY = """
import json
from modal_infra import entries
from sft.errors import TransientError
entries.PATIENCE = 0.5
try:
    entries.DictEntries().add("key", {})
except TransientError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModalServer]:
    with modal_runs.serving(tmp_path / "server") as server:
        yield server


def run(server: ModalServer, home: Path, script: str) -> Any:
    command = [sys.executable, "-c", script]
    process = subprocess.run(command, cwd=home, env=environment(server, home), capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return json.loads(process.stdout)


def test_of_many_at_once_one_gets_it_and_the_next_when_it_is_given_back(server: ModalServer, home: Path) -> None:
    server.cut["DictUpdate"] = 9  # done, but the answers are lost: the client asks again
    said = run(server, home, RACE)
    assert said["losers"] == [said["winner"]], "all others are told whose it is"
    assert said["later"], "the fence has grown"
    assert server.cut["DictUpdate"] == 0
    server.dicts.shift = 8 * 86400.0  # nobody has asked for it for over a week: it begins anew
    assert run(server, home, RACE)["later"]


def test_a_holder_outlives_a_dict_that_was_cleared_and_one_that_was_deleted(server: ModalServer, home: Path) -> None:
    assert run(server, home, KEPT) == "fc-1"
    assert list(server.dicts.named) == [LEASES]


def test_a_dict_that_cannot_be_reached_is_an_error_that_may_pass(server: ModalServer, home: Path) -> None:
    server.faults["DictUpdate"] = 10_000
    assert "Modal cannot be asked who holds a lease" in run(server, home, AWAY)
