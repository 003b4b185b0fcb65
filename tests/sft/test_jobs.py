"""The smaller jobs: reading images, hashing and pruning what lies on a volume, and the doctor's checks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compute.local import LocalCompute
from sft import lease, records
from sft.errors import InputError
from sft.jobs.base import Context
from sft.jobs.infer import InferArgs, infer
from sft.jobs.inspect_environment import InspectArgs, fitting, inspect_environment
from sft.jobs.maintenance import HashArgs, PruneArgs, hash_files, prune


@pytest.fixture
def context(home: Path) -> Context:
    return Context(LocalCompute(home / "state").volumes, "call", say=lambda line: None)


def a_run(context: Context, name: str, *, finished: bool) -> Path:
    run = context.volumes.outputs / "runs" / name
    (run / "trainer" / "checkpoint-1").mkdir(parents=True)
    (run / "trainer" / "checkpoint-1" / "weights").write_bytes(b"w" * 1000)
    (run / "model").mkdir()
    if finished:
        records.write_record(run, {"steps": 1})
    return run


def test_pruning_takes_only_checkpoints_of_finished_trainings(context: Context) -> None:
    done, resumable = a_run(context, "done", finished=True), a_run(context, "resumable", finished=False)
    held = a_run(context, "held", finished=True)
    names = ("done", "resumable", "held", "none", "../runs/done")
    with lease.hold(held, "other"):
        tried = prune(PruneArgs(runs=names), context)
        assert (done / "trainer").exists(), "a dry run removes nothing"
        removed = prune(PruneArgs(runs=names, dry_run=False), context)
    assert tried == removed
    assert removed["removed"] == {"done": 1000}
    assert set(removed["kept"]) == {"resumable", "held", "none", "../runs/done"}
    assert not (done / "trainer").exists()
    assert (done / "model").exists()
    assert (resumable / "trainer").exists()
    assert (held / "trainer").exists()


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


def test_an_unknown_check_names_the_known_ones(context: Context) -> None:
    with pytest.raises(InputError, match="no such check") as caught:
        inspect_environment(InspectArgs(engine="erniekit", device="gpu", checks=("cudaa",)), context)
    assert "paddle-gpu" in caught.value.remedy
