"""Whatever a call at Modal ends with is an outcome of ours: it blocks nothing, and looking goes on."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from grpclib import Status
from modal_proto import api_pb2

from tests.support.modal_runs import environment, sft
from tests.support.modal_server import DONE, PROJECT, Call, ModalServer
from tests.support.mounting import CAN_MOUNT

pytestmark = pytest.mark.skipif(not CAN_MOUNT, reason="unshare --mount is not permitted here")
CPU = ("--set", "compute=modal", "--set", "modal.gpu=none")

# A package that stands in the way of ours: containers end before any code of ours runs.
BROKEN = """
import os
import modal.exception
class Odd(Exception):
    "nobody else has this class"
KINDS = [
    Odd("only the container knows me"),
    RuntimeError("a bare one"),
    ImportError("No module named 'paddle'"),
    TimeoutError("the container's own clock"),
    SystemExit(3),
    modal.exception.ServiceError("commit refused"),
]
raise KINDS[int(os.environ["MODAL_TASK_ID"].rpartition("-")[2]) % len(KINDS)]
"""
# Pointers of trainings whose calls are other, smaller jobs: what is asked is how calls end.
LOOK = """
import json, sys, time
from compute.select import compute_for
from modal_infra.running import is_running
from sft.config import load
from sft.errors import SftError
from runs.calls import attach_or_start, ended_with, running_calls
compute = compute_for(load("smoke", ["compute=modal", "modal.gpu=none"]).config)
keys = [f"train-{number:016d}" for number in range(int(sys.argv[1]))]
calls = [attach_or_start(compute, key, "hash_files", {"volume": "outputs", "path": "calls"}) for key in keys]
end = time.monotonic() + 60
while any(compute.poll(call).state == "running" for call, _ in calls) and time.monotonic() < end: time.sleep(0.1)
told = {}
for key, (call, new) in zip(keys, calls):
    error = ended_with(compute, key)
    told[key] = {"state": compute.poll(call).state, "new": new, "type": type(error).__name__, "runs": is_running(call),
                 "text": str(error)}
print(json.dumps({"told": told, "running": running_calls(compute)}))
"""
KINDS = 6


def run(server: ModalServer, home: Path, script: str, *args: str) -> str:
    command = [sys.executable, "-c", script, *args]
    process = subprocess.run(command, cwd=home, env=environment(server, home), capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def break_imports(server: ModalServer, folder: Path) -> None:
    (folder / "broken" / "sft").mkdir(parents=True)
    (folder / "broken" / "sft" / "__init__.py").write_text(BROKEN)
    server.environment["PYTHONPATH"] = f"{folder / 'broken'}:{PROJECT}"


def test_a_call_that_ends_with_a_foreign_exception_blocks_nothing(
    deployed: ModalServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    break_imports(deployed, tmp_path)
    first: dict[str, Any] = json.loads(run(deployed, home, LOOK, str(KINDS)))
    told = list(first["told"].values())
    assert {(entry["state"], entry["new"], entry["runs"]) for entry in told} == {("failed", True, False)}
    texts = {entry["type"] + ": " + entry["text"] for entry in told}
    for kind, text in (
        ("JobError", "only the container knows me"),
        ("JobError", "RuntimeError: a bare one"),
        ("JobError", "ImportError: No module named 'paddle'"),
        ("TransientError", "TimeoutError: the container's own clock"),
        ("JobDied", "SystemExit 3"),
        ("TransientError", "ServiceError: commit refused"),
    ):
        assert any(found.startswith(kind) and text in found for found in texts), (kind, text, texts)
    assert first["running"] == {}

    deployed.simulated = lambda item: 600.0
    run(deployed, home, START, "train-aaaaaaaaaaaaaaaa")
    outputs = deployed.volumes_folder / "vo-paddleocr-vl-outputs"
    for number in range(KINDS):
        (outputs / "runs" / f"{number:016d}").mkdir(parents=True)
        (outputs / "runs" / f"{number:016d}" / "metrics.jsonl").write_text('{"step": 1}\n')
    status = sft(deployed, home, "status", "smoke", *CPU)
    assert (status.returncode, status.stdout.count("stopped (the container")) == (0, KINDS), status.stdout
    assert sft(deployed, home, "history", "smoke", *CPU).returncode == 0
    calls = len(deployed.calls)
    deployed.refused["FunctionGetOutputs"] = Status.PERMISSION_DENIED
    with pytest.raises(AssertionError, match="Modal refuses the token"):
        run(deployed, home, START, "train-aaaaaaaaaaaaaaaa")
    assert len(deployed.calls) == calls, "in doubt it runs: nothing is started beside it"
    deployed.refused.clear()
    cancelled = sft(deployed, home, "cancel", "aaaa", *CPU)
    assert cancelled.returncode == 0, cancelled.stderr
    assert "training aaaaaaaaaaaaaaaa" in cancelled.stdout

    deployed.simulated = None
    doctor = sft(deployed, home, "doctor", "smoke", *CPU)
    assert (doctor.returncode, "FAILED  container" in doctor.stdout) == (1, True), doctor.stdout + doctor.stderr
    deployed.environment.clear()
    # Each is met by one of the containers; the client tries neither again: both are a ConflictError.
    busy = ("VolumeReload", Status.FAILED_PRECONDITION), ("VolumeCommit", Status.ABORTED)
    deployed.refused_once += [*busy, *busy]
    second = json.loads(run(deployed, home, LOOK, str(KINDS)))
    assert {(e["state"], e["new"]) for e in second["told"].values()} == {("done", True)}, "all is well again"
    assert deployed.refused_once == [], "a volume that was busy once is asked again"


START = """
import sys
from compute.select import compute_for
from sft.config import load
from runs.calls import attach_or_start
compute = compute_for(load("smoke", ["compute=modal", "modal.gpu=none"]).config)
attach_or_start(compute, sys.argv[1], "hash_files", {"volume": "outputs", "path": "calls"})
"""


def results(server: ModalServer) -> dict[str, api_pb2.GenericResult]:
    """Ends of calls that no container of ours brings about: what Modal's servers or another version of ours say."""
    odd = type("Odd", (Exception,), {"__module__": "nobody_has_it"})
    sys.modules["nobody_has_it"] = types.SimpleNamespace(Odd=odd)  # type: ignore[assignment]
    pickled = pickle.dumps(odd("lost in translation"))
    del sys.modules["nobody_has_it"]
    status = api_pb2.GenericResult
    return {
        "timeout": status(status=status.GENERIC_STATUS_TIMEOUT, exception="Task's current input hit its timeout"),
        "terminated": status(status=status.GENERIC_STATUS_TERMINATED, exception="Function call was terminated"),
        "image": status(status=status.GENERIC_STATUS_FAILURE, exception="Image build for im-1 failed"),
        "init": status(status=status.GENERIC_STATUS_INIT_FAILURE, exception="mount of vo-1 failed"),
        "oom": status(status=status.GENERIC_STATUS_INTERNAL_FAILURE, exception="exit code 137, out of memory"),
        "unreadable exception": status(status=status.GENERIC_STATUS_FAILURE, data=pickled, exception="odd"),
        "torn exception": status(status=status.GENERIC_STATUS_FAILURE, data=b"\x80\x04torn", exception="odd"),
        "unreadable result": status(status=DONE, data=pickled),
        "torn result": status(status=DONE, data=b"\x80\x04torn"),
        "other result": status(status=DONE, data=pickle.dumps(["no outcome"])),
        "half an outcome": status(status=DONE, data=pickle.dumps({"ok": False})),
        "expired": status(status=DONE, data=pickle.dumps({"ok": True, "value": {}})),
    }


PEEK = """
import json, sys
from compute.select import compute_for
from modal_infra.running import is_running
from sft.config import load
from runs.calls import attach_or_start, ended_with, running_calls, running_call, started
compute = compute_for(load("smoke", ["compute=modal", "modal.gpu=none"]).config)
told = {}
for key, call in json.loads(sys.argv[1]).items():
    error = ended_with(compute, key)
    told[key] = [type(error).__name__, str(error), is_running(call), running_call(compute, key), started(compute, key)]
running = running_calls(compute)
new = [attach_or_start(compute, key, "hash_files", {"volume": "outputs", "path": "calls"})[1] for key in told]
print(json.dumps({"told": told, "running": running, "new": new}))
"""


def test_no_end_that_modal_says_of_a_call_blocks_its_key(deployed: ModalServer, home: Path) -> None:
    ends = results(deployed)
    ids = {}
    folder = deployed.folder("vo-paddleocr-vl-outputs") / "calls"
    folder.mkdir(parents=True)
    for name, result in ends.items():
        ids[name] = f"fc-{name.replace(' ', '-')}"
        call = deployed.calls[ids[name]] = Call(ids[name], "fu-train_erniekit", api_pb2.FunctionInput())
        call.finish(result, api_pb2.DATA_FORMAT_PICKLE)
    deployed.expired.add(ids["expired"])
    ids |= {"never there": "fc-none", "of this machine": "20261126-local", "empty": ""}
    keys = {f"train-{index:016d}": call_id for index, call_id in enumerate(ids.values())}
    for key, call_id in keys.items():
        (folder / f"{key}.json").write_text(json.dumps({"call_id": call_id, "job": "train", "started": 1.0}))
    pointers = {"torn": '{"call_', "no object": "[1]", "null": json.dumps({"call_id": None, "started": None})}
    for name, text in pointers.items():
        (folder / f"train-{name}.json").write_text(text)
        keys[f"train-{name}"] = ""
    deployed.simulated = lambda item: 0.0
    said = json.loads(run(deployed, home, PEEK, json.dumps(keys)))
    types_of = {name: said["told"][key][0] for name, key in zip(ids, keys, strict=False)}
    assert types_of == {
        "timeout": "JobDied",
        "terminated": "JobCancelled",
        "image": "JobDied",
        "init": "JobDied",
        "oom": "JobDied",
        "unreadable exception": "JobError",
        "torn exception": "JobError",
        "unreadable result": "JobError",
        "torn result": "JobError",
        "other result": "JobError",
        "half an outcome": "JobError",
        "expired": "JobDied",
        "never there": "NoneType",
        "of this machine": "NoneType",
        "empty": "NoneType",
    }
    doubtful = {keys[key] for key, entry in said["told"].items() if entry[2:4] != [False, ""]}
    assert doubtful == set(), "the lease of none is held"
    assert said["running"] == {}
    assert set(said["new"]) == {True}, "each key starts anew"


# Comes before anything of ours: the container dies as soon as its job says that it has begun.
DEADLY = """
import builtins, os, signal
say = builtins.print
def deadly(*words, **options):
    say(*words, **options, flush=True)
    if '"event": "job"' in str(words):
        os.kill(os.getpid(), signal.SIGKILL)
builtins.print = deadly
"""


def test_a_job_whose_containers_crash_is_not_paid_for_ever(deployed: ModalServer, home: Path, tmp_path: Path) -> None:
    """Modal gives the input of a crashed container to the next one, without an end."""
    (tmp_path / "deadly").mkdir()
    (tmp_path / "deadly" / "sitecustomize.py").write_text(DEADLY)
    deployed.environment["PYTHONPATH"] = f"{tmp_path / 'deadly'}:{PROJECT}"
    deployed.reschedules = True
    said = json.loads(run(deployed, home, LOOK, "1"))["told"]["train-0000000000000000"]
    assert (said["type"], "3 times" in said["text"]) == ("JobDied", True), said
    (call,) = deployed.calls.values()
    assert call.log.count(b'"event": "job"') == 3
