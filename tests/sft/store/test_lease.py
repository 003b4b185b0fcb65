"""The lease between real processes."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sft.errors import LeaseHeld, TransientError
from sft.store import agreement, lease, records
from tests.support.entries import Memory

HOLD = (
    "import sys, time, pathlib, subprocess; from sft.store import lease\n"
    "with lease.hold(pathlib.Path(sys.argv[1]), 'other') as files:\n"
    "    if len(sys.argv) > 2: subprocess.Popen(['sleep', '30'], pass_fds=files.descriptors)\n"
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


def between(
    *, running: bool, entries: Memory | None = None, publish: Callable[[], None] = lambda: None
) -> lease.Shared:
    """How another machine agrees with us; ``running`` is what Modal says of every call."""
    return lease.Shared(lambda: None, publish, lambda call: running, Memory() if entries is None else entries)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "QUIET", 0.3)
    monkeypatch.setattr(agreement, "LOOK", 0.05)
    monkeypatch.setattr(agreement, "BEAT", 0.05)


def test_between_machines_the_holders_call_decides(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with pytest.raises(LeaseHeld) as caught, lease.hold(tmp_path, "mine", between(running=True)):
        pass
    assert caught.value.value == "other"
    end(process)
    entries = Memory()
    with pytest.raises(LeaseHeld), lease.hold(tmp_path, "mine", between(running=True, entries=entries)):
        pass  # in doubt it still runs, however old its heartbeat is
    with lease.hold(tmp_path, "mine", between(running=False, entries=entries)):
        pass


def test_a_holder_whose_file_nobody_sees_yet_holds_it_all_the_same(tmp_path: Path) -> None:
    """A commit may take any time: between machines no file decides."""
    shared = between(running=True)
    with lease.hold(tmp_path, "first", shared) as first:
        (tmp_path / lease.FILE).unlink()
        with pytest.raises(LeaseHeld) as caught, lease.hold(tmp_path, "second", shared):
            pass
        assert caught.value.value == "first"
        first.check()
    with lease.hold(tmp_path, "second", shared) as second:
        assert second.fence > first.fence


def test_who_has_lost_it_is_told_so_and_leaves_the_new_holders_file_alone(tmp_path: Path) -> None:
    shared = between(running=False)
    with lease.hold(tmp_path, "slept", shared) as held:
        key = next(key for key in shared.entries.kept if "#" in key)  # type: ignore[attr-defined]
        shared.entries.put(key, {"call_id": "new", "token": "another"})
        records.write_json(tmp_path / lease.FILE, {"call_id": "new"})
        time.sleep(0.3)
        with pytest.raises(LeaseHeld) as caught:
            held.told()  # a heartbeat has found it out
        assert caught.value.value == "new"
        with pytest.raises(LeaseHeld):
            held.check()
    assert lease.holder(tmp_path) == {"call_id": "new"}


def test_a_lease_whose_results_could_not_be_committed_is_not_given_back(tmp_path: Path) -> None:
    """Whoever took it would not see them, and a later commit of ours would overwrite what it has done since."""
    entries, refuses = Memory(), [False]

    def publish() -> None:
        if refuses[0]:
            raise TransientError("Modal refuses the commit")

    with lease.hold(tmp_path, "first", between(running=True, entries=entries, publish=publish)):
        refuses[0] = True
    (tmp_path / lease.FILE).unlink(missing_ok=True)
    with pytest.raises(LeaseHeld), lease.hold(tmp_path, "second", between(running=True, entries=entries)):
        pass
    with lease.hold(tmp_path, "second", between(running=False, entries=entries)):
        pass


def test_who_loses_the_race_for_a_lock_that_is_removed_holds_the_one_that_lies_there(tmp_path: Path) -> None:
    """A cleanup removes a training with its lock: a lock on a file without a name would exclude nobody."""
    folder = tmp_path / "run"
    with lease.hold(folder, "cleanup"):
        shutil.rmtree(folder)
        with lease.hold(folder, "training"):
            with pytest.raises(LeaseHeld), lease.hold(folder, "third"):
                pass
            assert (folder / lease.LOCK).exists()


def test_the_heartbeat_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED", 0.05)
    with lease.hold(tmp_path, "mine"):
        first = lease.holder(tmp_path)
        time.sleep(0.3)
        second = lease.holder(tmp_path)
    assert first is not None
    assert second is not None
    assert second["heartbeat"] > first["heartbeat"]


def test_another_machine_of_the_same_call_waits_until_the_first_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At Modal the input of a container that crashed goes to another one, under the same call id."""
    monkeypatch.setattr(agreement, "SILENT", 0.3)
    shared = between(running=True)
    with lease.hold(tmp_path, "fc-1", shared):  # preempted: it gives the lease back
        pass
    agreement.Claim(shared.entries, str(tmp_path), "fc-1", shared.is_running).take()  # killed: it says nothing any more
    began = time.monotonic()
    with lease.hold(tmp_path, "fc-1", shared):
        assert time.monotonic() - began >= 0.3
