"""The smaller jobs: reading images, hashing and cleaning up what lies on a volume, and the doctor's checks."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from compute.local import LocalCompute
from sft.context import Context
from sft.errors import InputError
from sft.jobs.infer import InferArgs, infer
from sft.jobs.inspect_environment import InspectArgs, fitting, inspect_environment
from sft.jobs.maintenance import CleanupArgs, HashArgs, cleanup, hash_files
from sft.jobs.parse_pages import ParsePagesArgs, parse_pages
from sft.models.second_reader import VARIABLE, interpreter
from sft.store import agreement, champions, lease, records
from sft.store.volumes import REMOVING
from tests.support.entries import Memory


@pytest.fixture
def context(home: Path) -> Context:
    return Context(LocalCompute(home / "state").volumes, "call", say=lambda line: None)


def a_run(context: Context, name: str, *, finished: bool) -> Path:
    run = context.volumes.outputs / "runs" / name
    (run / "trainer" / "checkpoint-1").mkdir(parents=True)
    (run / "trainer" / "checkpoint-1" / "weights").write_bytes(b"w" * 1000)
    (run / "quarantine" / "checkpoint-2").mkdir(parents=True)
    (run / "model").mkdir()
    if finished:
        records.write_record(run, {"steps": 1})
    return run


def sizes(found: dict[str, Any]) -> dict[str, int]:
    return {entry["run"]: entry["removed"] for entry in found["runs"] if not entry["kept"]}


def test_cleaning_up_spares_what_is_needed_and_tells_why(context: Context) -> None:
    names = ("old", "young", "unsynced", "resumable", "held", "promoted", "formerly")
    runs = {name: a_run(context, name, finished=name != "resumable") for name in names}
    for name, run in runs.items():
        if name != "resumable":
            age = 1 if name == "young" else 30
            records.write_record(run, {"name": "n", "finished": time.time() - age * 86400})
        if name != "unsynced":
            records.write_json(run / "synced.json", {})
    line = context.volumes.outputs / "champions" / "n"
    for name in ("formerly", "promoted"):
        champions.swap(line, name="n", identity=name, model_identity="m", by="gate", over="")
    with lease.hold(runs["held"], "other"):
        tried = cleanup(CleanupArgs(keep=0), context)
        assert sizes(tried) == {"old": 1000}
        assert (runs["old"] / "trainer").exists(), "a dry run removes nothing"
        assert sizes(cleanup(CleanupArgs(keep=9), context)) == {}, "the newest of each name stay"
        whole = cleanup(CleanupArgs(keep=0, models=True), context)
        assert sizes(whole)["old"] > 1000
        done = cleanup(CleanupArgs(keep=0, dry_run=False), context)
    assert done == tried
    why = {entry["run"]: entry["kept"] for entry in done["runs"]}
    assert why == {
        "old": "",
        "young": "finished 1 days ago",
        "unsynced": "not synced to any machine",
        "resumable": "not finished: it resumes from its checkpoints",
        "held": "its lease is held",
        "promoted": "promoted",
        "formerly": "promoted",
    }
    assert not (runs["old"] / "trainer").exists()
    assert not (runs["old"] / "quarantine").exists()
    assert (runs["old"] / "model").exists()
    assert all((run / "trainer").exists() for name, run in runs.items() if name != "old")
    cleanup(CleanupArgs(keep=0, models=True, dry_run=False), context)
    left = sorted(path.name for path in (context.volumes.outputs / "runs").iterdir())
    assert left == sorted(set(names) - {"old", "held"}), "the lease of held was given back"


class Snapshots:
    """A Modal volume as one container sees it: what it has not committed is gone with the next reload, and what others
    do meanwhile is seen from then on.

    By the docstrings of ``Volume.commit`` and ``Volume.reload`` of Modal's client (1.6.4): changes reach others by a
    commit, others' are seen after a reload, which "may" commit what was not committed; here it never does.
    """

    def __init__(self, seen: Path, committed: Path, meanwhile: Callable[[Path], None]) -> None:
        self.seen, self.committed, self.meanwhile = seen, committed, meanwhile
        self.running: set[str] = set()
        self.entries = Memory()
        self.commit()

    def commit(self) -> None:
        shutil.rmtree(self.committed, ignore_errors=True)
        shutil.copytree(self.seen, self.committed)

    def refresh(self) -> None:
        self.meanwhile(self.committed)
        shutil.rmtree(self.seen)
        shutil.copytree(self.committed, self.seen)

    def context(self, context: Context) -> Context:
        shared = lease.Shared(self.refresh, self.commit, lambda call: call in self.running, self.entries)
        return dataclasses.replace(context, commit=self.commit, shared=shared)


def test_what_is_promoted_while_others_are_removed_stays(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        run = a_run(context, name, finished=True)
        records.write_record(run, {"name": name, "finished": time.time() - 30 * 86400})
        records.write_json(run / "synced.json", {})

    def promotion(outputs: Path) -> None:
        """Comes when the first training has been removed: whatever was decided before it is no longer right."""
        if not (outputs / "runs" / "a").exists() and not (outputs / "champions" / "b" / champions.POINTER).exists():
            line = outputs / "champions" / "b"
            champions.swap(line, name="b", identity="b", model_identity="m", by="hand", over="")

    volume = Snapshots(context.volumes.outputs, tmp_path / "committed", promotion)
    done = cleanup(CleanupArgs(keep=0, models=True, dry_run=False), volume.context(context))
    assert {entry["run"]: entry["kept"] for entry in done["runs"]} == {"a": "", "b": "promoted", "c": ""}
    assert sorted(path.name for path in (volume.committed / "runs").iterdir()) == ["b"]
    assert (volume.committed / "runs" / "b" / "model").is_dir()
    volume.refresh()
    assert sorted(path.name for path in (volume.seen / "runs").iterdir()) == ["b"], "what was told to be freed is gone"


def test_a_promotion_under_way_keeps_the_trainings_of_its_line(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(context, "a", finished=True)
    records.write_record(run, {"name": "n", "finished": 0.0})
    records.write_json(run / "synced.json", {})
    records.write_json(context.volumes.outputs / "champions" / "n" / lease.FILE, {"call_id": "gate", "heartbeat": 0})
    volume = Snapshots(context.volumes.outputs, tmp_path / "committed", lambda outputs: None)
    volume.running.add("gate")
    done = cleanup(CleanupArgs(keep=0, models=True, dry_run=False), volume.context(context))
    assert [(e["removed"], e["kept"]) for e in done["runs"]] == [(0, "a promotion of its line is under way")]
    assert records.read_record(run) is not None


def test_leases_of_calls_that_no_longer_run_are_removed(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "working"):
        run = a_run(context, name, finished=name == "gone")
        records.write_json(run / lease.FILE, {"call_id": name, "heartbeat": 0})
    records.write_record(run.with_name("gone"), {"name": "n", "finished": 0.0})
    records.write_json(run.with_name("gone") / "synced.json", {})
    volume = Snapshots(context.volumes.outputs, tmp_path / "committed", lambda outputs: None)
    volume.running.add("working")
    done = cleanup(CleanupArgs(keep=0, dry_run=False), volume.context(context))
    assert {e["run"]: (e["removed"], e["kept"]) for e in done["runs"]} == {
        "gone": (1000, ""),
        "working": (0, "its lease is held"),
    }
    left = [path.parent.name for path in (volume.committed / "runs").glob(f"*/{lease.FILE}")]
    assert left == ["working"]
    # On one machine: the lease of a process that was killed.
    records.write_json(run / lease.FILE, {"call_id": "killed", "heartbeat": 0})
    cleanup(CleanupArgs(dry_run=False), context)
    assert lease.holder(run) is None


class Died(BaseException):
    """The container is gone."""


@pytest.mark.parametrize("background", [False, True], ids=["nothing more committed", "committed in the background"])
@pytest.mark.parametrize("dies_at", range(1, 12))
def test_a_cleanup_that_died_anywhere_is_finished_or_undone_by_the_next(
    context: Context, tmp_path: Path, dies_at: int, background: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies right before or behind one of its removals, commits and reloads; what was not committed is lost."""
    run = a_run(context, "a", finished=True)
    records.write_record(run, {"name": "n", "finished": 0.0})
    records.write_json(run / "synced.json", {})
    volume = Snapshots(context.volumes.outputs, tmp_path / "committed", lambda outputs: None)
    left, dead, commit = [dies_at], [False], volume.commit

    def dying(act: Callable[..., None]) -> Callable[..., None]:
        def body(*args: Any, **options: Any) -> None:
            left[0] -= 1
            if left[0] == 0:
                dead[0] = True
                if background:
                    commit()
            if dead[0]:
                raise Died
            act(*args, **options)

        return body

    with monkeypatch.context() as patch:
        patch.setattr(volume, "commit", dying(volume.commit))
        patch.setattr(volume, "refresh", dying(volume.refresh))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        args = CleanupArgs(keep=0, models=True, dry_run=False)
        with suppress(Died):
            cleanup(args, volume.context(context))
    if dead[0]:
        monkeypatch.setattr(agreement, "QUIET", 0.0)
        volume.refresh()  # another container
        volume.running.clear()
        whole = (run / "record.json").exists() and (run / "model").is_dir()
        assert whole or not (run / "record.json").exists(), "half a training that says that it has finished"
        next_one = dataclasses.replace(volume.context(context), call_id="next")
        cleanup(args, next_one)
        volume.refresh()
    assert not (context.volumes.outputs / "runs" / "a").exists()


def test_a_removal_that_had_only_been_written_down_is_undone_where_the_training_is_promoted_since(
    context: Context,
) -> None:
    run = a_run(context, "a", finished=True)
    records.write_record(run, {"name": "n", "finished": 0.0})
    records.write_json(run / "synced.json", {})
    records.write_json(run / REMOVING, {"whole": True, "name": "n"})
    champions.swap(
        context.volumes.outputs / "champions" / "n", name="n", identity="a", model_identity="m", by="hand", over=""
    )
    done = cleanup(CleanupArgs(keep=0, models=True, dry_run=False), context)
    assert [entry["kept"] for entry in done["runs"]] == ["promoted"]
    assert (run / "model").is_dir()
    assert not (run / REMOVING).exists()


def test_what_is_promoted_between_the_writing_and_the_removal_stays(context: Context, tmp_path: Path) -> None:
    run = a_run(context, "a", finished=True)
    records.write_record(run, {"name": "n", "finished": 0.0})
    records.write_json(run / "synced.json", {})

    def promotion(outputs: Path) -> None:
        line = outputs / "champions" / "n"
        if (outputs / "runs" / "a" / REMOVING).exists() and not (line / champions.POINTER).exists():
            champions.swap(line, name="n", identity="a", model_identity="m", by="hand", over="")

    volume = Snapshots(context.volumes.outputs, tmp_path / "committed", promotion)
    done = cleanup(CleanupArgs(keep=0, models=True, dry_run=False), volume.context(context))
    assert [(entry["kept"], entry["removed"]) for entry in done["runs"]] == [("promoted", 0)]
    assert (volume.committed / "runs" / "a" / "record.json").exists()
    assert not (volume.committed / "runs" / "a" / REMOVING).exists()


def test_a_folder_is_hashed_where_it_lies(context: Context) -> None:
    run = a_run(context, "done", finished=True)
    found = hash_files(HashArgs(volume="outputs", path="runs/done"), context)
    assert found["files"] == records.manifest(run)
    for path in ("none", "../data", "runs/done/record.json"):
        with pytest.raises(InputError, match="no such folder"):
            hash_files(HashArgs(volume="outputs", path=path), context)


@pytest.mark.parametrize("change", [{"model": "models/none"}, {"model": "elsewhere/x"}, {"images": ("none.png",)}])
def test_what_is_not_there_cannot_be_read(context: Context, change: dict[str, object]) -> None:
    (context.volumes.models / "base").mkdir()
    args = {"model": "models/base", "images": (), "prompt": "OCR:", "device": "cpu", **change}
    with pytest.raises(InputError):
        infer(InferArgs.model_validate(args), context)


def test_whole_pages_without_paddleocr_say_what_to_install(context: Context) -> None:
    (context.volumes.models / "base").mkdir()
    (context.volumes.data / "a.png").write_bytes(b"")
    args = ParsePagesArgs(model="models/base", images=("a.png",), device="cpu")
    with pytest.raises(InputError, match=r"pip install .paddleocr\[doc-parser\]"):
        parse_pages(args, context)


def test_the_nine_checks_of_erniekit_and_the_quick_three() -> None:
    names = [check.name for check in fitting("erniekit", "gpu")]
    assert names == ["python", "cuda", "paddle", "paddle-gpu", "ernie", "ernie-import", "ernie-cmd", "deps", "config"]
    assert [check.name for check in fitting("erniekit", "gpu", quick=True)] == ["python", "cuda", "paddle"]


def test_this_environment_passes_its_own_checks(context: Context) -> None:
    result = inspect_environment(InspectArgs(engine="paddleformers", device="cpu"), context)
    assert {f["name"]: f["ok"] for f in result["findings"]} == dict.fromkeys(
        ("python", "paddle", "trainer", "deps", "disk"), True
    )


def test_the_environment_with_torch_is_looked_at_where_it_is(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [check.name for check in fitting("transformers", "gpu")] == ["python", "cuda", "torch"]
    args = InspectArgs(engine="transformers", device="cpu", checks=("torch",))
    if interpreter() is not None:
        (finding,) = inspect_environment(args, context)["findings"]
        assert (finding["ok"], finding["found"].startswith("torch 2.")) == (True, True), finding
    monkeypatch.setenv(VARIABLE, sys.executable)  # a Python that has none of it
    (finding,) = inspect_environment(args, context)["findings"]
    assert (finding["ok"], "No module named 'torch'" in finding["found"]) == (False, True)
    monkeypatch.setenv(VARIABLE, "")
    (finding,) = inspect_environment(args, context)["findings"]
    assert (finding["ok"], "make torch" in finding["remedy"]) == (False, True)


def test_what_is_missing_has_a_remedy(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    result = inspect_environment(
        InspectArgs(engine="erniekit", device="gpu", checks=("cuda", "ernie", "config")), context
    )
    assert [(f["name"], f["ok"], bool(f["remedy"])) for f in result["findings"]] == [
        ("cuda", False, True),
        ("ernie", False, True),
        ("config", False, True),
    ]


@pytest.mark.parametrize(("there", "ok"), [(1, False), (2, True), (4, True)])
def test_fewer_cards_than_are_to_train_are_seen(
    there: int, ok: bool, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nvidia-smi's field count stands in each card's line (nvidia-smi --help-query-gpu)."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\nfor n in $(seq {there}); do echo "{there}, NVIDIA H100, 550.90, 81559 MiB"; done\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    args = InspectArgs(engine="transformers", device="gpu", checks=("cuda",), gpus=2)
    (finding,) = inspect_environment(args, context)["findings"]
    assert (finding["ok"], "2 GPUs are to train, and there are 1, NVIDIA H100" in finding["found"]) == (ok, not ok)


def test_packages_of_another_engine_are_seen(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """This environment is the other engine's: each check that was green where a training would have died is red."""
    monkeypatch.setenv("SFT_WHEEL_BUILD", "cudnn95")
    checks = ("paddle", "ernie-import", "deps")
    result = inspect_environment(InspectArgs(engine="erniekit", device="gpu", checks=checks), context)
    found = {f["name"]: (f["ok"], f["found"]) for f in result["findings"]}
    assert found["paddle"] == (False, "3.3.1, and not 0.0.0"), "the wheel of the build that was deployed"
    assert found["ernie-import"] == (False, "ModuleNotFoundError: No module named 'erniekit'")
    assert not found["deps"][0]
    assert "paddleformers 1.2.0, and not 0.4.0" in found["deps"][1]


def test_an_unknown_check_names_the_known_ones(context: Context) -> None:
    with pytest.raises(InputError, match="no such check") as caught:
        inspect_environment(InspectArgs(engine="erniekit", device="gpu", checks=("cudaa",)), context)
    assert "paddle-gpu" in caught.value.remedy
