"""The smaller jobs: reading images, hashing and cleaning up what lies on a volume, and the doctor's checks."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from compute.local import LocalCompute
from sft import champions, lease, records
from sft.errors import InputError
from sft.jobs.base import Context
from sft.jobs.infer import InferArgs, infer
from sft.jobs.inspect_environment import InspectArgs, fitting, inspect_environment
from sft.jobs.maintenance import CleanupArgs, HashArgs, cleanup, hash_files
from sft.jobs.parse_pages import ParsePagesArgs, parse_pages


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
