"""Mirroring a model to this machine: whole or not at all, only what is missing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compute.local import LocalCompute
from runs.mirroring import mirror
from sft.errors import TransientError
from sft.store import records


@pytest.fixture
def compute(home: Path) -> LocalCompute:
    compute = LocalCompute(home / "state")
    model = compute.volumes.outputs / "runs" / "x" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "weights").write_bytes(b"w" * 100_000)
    return compute


def files(compute: LocalCompute) -> records.Manifest:
    return records.manifest(compute.volumes.outputs / "runs" / "x" / "model")


def test_the_first_copy_takes_all_and_the_second_nothing(compute: LocalCompute, tmp_path: Path) -> None:
    target = tmp_path / "models" / "model"
    assert mirror(compute, "runs/x/model", files(compute), target) == (2, 100_002)
    assert mirror(compute, "runs/x/model", files(compute), target) == (0, 0)
    assert records.broken_files(target, files(compute)) == []


@pytest.mark.parametrize("damage", ["removed", "changed", "changed with the same size and time"])
def test_only_what_is_damaged_is_copied_again(compute: LocalCompute, tmp_path: Path, damage: str) -> None:
    target = tmp_path / "model"
    mirror(compute, "runs/x/model", files(compute), target)
    if damage == "removed":
        (target / "weights").unlink()
    else:
        (target / "weights").write_bytes(b"x" * 99_999 + (b"y" if "same" in damage else b""))
    assert mirror(compute, "runs/x/model", files(compute), target)[0] == 1
    assert records.broken_files(target, files(compute)) == []


def test_a_copy_with_a_wrong_hash_never_becomes_the_model(compute: LocalCompute, tmp_path: Path) -> None:
    target = tmp_path / "model"
    expected = files(compute)
    mirror(compute, "runs/x/model", expected, target)
    (target / "weights").unlink()
    source = compute.volumes.outputs / "runs" / "x" / "model" / "weights"
    source.write_bytes(b"torn")
    with pytest.raises(TransientError, match="does not have the hash"):
        mirror(compute, "runs/x/model", expected, target)
    assert (target / "config.json").exists()
    assert not (target / "weights").exists()
    assert not list(tmp_path.glob(".model.*"))


def test_two_runs_that_copy_to_one_folder_at_the_same_moment_both_end_well(
    compute: LocalCompute, tmp_path: Path
) -> None:
    body = (
        "import sys, json; from pathlib import Path; from compute.local import LocalCompute\n"
        "from runs.mirroring import mirror; sys.stdin.readline()\n"
        "compute = LocalCompute(Path(sys.argv[1]))\n"
        "print(mirror(compute, 'runs/x/model', json.loads(sys.argv[2]), Path(sys.argv[3]))[0])"
    )
    command = [sys.executable, "-c", body, str(compute.state), json.dumps(files(compute)), str(tmp_path / "model")]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = [process.communicate("go\n", timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0] * 4
    assert sorted(int(text) for text in told) == [0, 0, 0, 2], "one copied, the others waited and found it done"
    assert records.broken_files(tmp_path / "model", files(compute)) == []


def test_leftovers_of_a_killed_copy_do_no_harm(compute: LocalCompute, tmp_path: Path) -> None:
    target = tmp_path / "model"
    for name in (".model.old", f".model.{__import__('os').getpid()}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(b"half")
    mirror(compute, "runs/x/model", files(compute), target)
    assert records.broken_files(target, files(compute)) == []
    shutil.rmtree(target)
