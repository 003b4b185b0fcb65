"""The lease between real processes."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sft.errors import LeaseHeld
from sft.store import lease, records

HOLD = (
    "import sys, time, pathlib, subprocess; from sft.store import lease\n"
    "with lease.hold(pathlib.Path(sys.argv[1]), 'other') as files:\n"
    "    if len(sys.argv) > 2: subprocess.Popen(['sleep', '30'], pass_fds=files)\n"
    "    print('held', flush=True); time.sleep(30)\n"
)


def holder(folder: Path, *more: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), *more], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_the_second_is_told_who_holds_it_and_gets_it_once_the_first_is_killed(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with pytest.raises(LeaseHeld) as caught, lease.hold(tmp_path, "mine"):
        pass
    assert caught.value.value == "other"
    end(process)
    with lease.hold(tmp_path, "mine"):
        found = lease.holder(tmp_path)
        assert found is not None
        assert found["call_id"] == "mine"
    assert lease.holder(tmp_path) is None


def test_a_trainer_that_outlives_its_job_keeps_the_lease(tmp_path: Path) -> None:
    process = holder(tmp_path, "with a child")
    end(process)
    with pytest.raises(LeaseHeld), lease.hold(tmp_path, "mine"):
        pass


def between(*, running: bool, meanwhile: Callable[[], None] = lambda: None) -> lease.Shared:
    """Another machine: ``meanwhile`` happens between our publishing and our second look."""
    return lease.Shared(refresh=lambda: None, publish=meanwhile, is_running=lambda call: running)


def test_between_machines_the_holders_call_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SETTLED", 0.0)
    process = holder(tmp_path)
    with pytest.raises(LeaseHeld) as caught, lease.hold(tmp_path, "mine", between(running=True)):
        pass
    assert caught.value.value == "other"
    end(process)
    with pytest.raises(LeaseHeld), lease.hold(tmp_path, "mine", between(running=True)):
        pass  # in doubt it still runs, however old its heartbeat is
    with lease.hold(tmp_path, "mine", between(running=False)):
        pass


def test_of_two_that_publish_at_the_same_moment_the_later_one_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SETTLED", 0.0)

    def overtake() -> None:
        records.write_json(tmp_path / lease.FILE, {"call_id": "faster", "heartbeat": time.time()})

    with pytest.raises(LeaseHeld) as caught, lease.hold(tmp_path, "mine", between(running=True, meanwhile=overtake)):
        pass
    assert caught.value.value == "faster"
    found = lease.holder(tmp_path)
    assert found is not None
    assert found["call_id"] == "faster", "the loser leaves the winner's lease alone"


def test_the_heartbeat_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED", 0.05)
    with lease.hold(tmp_path, "mine"):
        first = lease.holder(tmp_path)
        time.sleep(0.3)
        second = lease.holder(tmp_path)
    assert first is not None
    assert second is not None
    assert second["heartbeat"] > first["heartbeat"]
