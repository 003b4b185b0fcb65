import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sft.store import records


def test_a_torn_record_is_no_record(tmp_path: Path) -> None:
    records.write_record(tmp_path, {"steps": 3})
    assert records.read_record(tmp_path) == {"steps": 3}
    content = (tmp_path / "record.json").read_text()
    (tmp_path / "record.json").write_text(content[:-5])
    assert records.read_record(tmp_path) is None


def test_a_writer_killed_at_any_moment_leaves_the_old_record_or_the_new(tmp_path: Path) -> None:
    body = (
        "import sys, pathlib; from sft.store import records\n"
        "for n in range(10**9): records.write_record(pathlib.Path(sys.argv[1]), {'n': n, 'pad': 'x' * 100_000})"
    )
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", body, str(tmp_path)])
        deadline = time.monotonic() + 20
        while not (tmp_path / "record.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        process.kill()
        process.wait()
        record = records.read_record(tmp_path)
        assert record is not None
        assert len(record["pad"]) == 100_000


def test_a_failed_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        records.write_json(tmp_path / "record.json", {"x": object()})
    assert os.listdir(tmp_path) == []


def test_the_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert records.fingerprint({"a": 1, "b": [2]}) == records.fingerprint({"b": [2], "a": 1})
    assert records.fingerprint({"a": 1}) != records.fingerprint({"a": 1.5})


@pytest.mark.parametrize("damage", ["missing", "longer", "changed"])
def test_a_manifest_tells_what_is_damaged(tmp_path: Path, damage: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights").write_bytes(b"abc")
    (tmp_path / "config").write_bytes(b"{}")
    files = records.manifest(tmp_path)
    assert records.broken_files(tmp_path, files) == []
    target = tmp_path / "sub" / "weights"
    if damage == "missing":
        target.unlink()
    else:
        target.write_bytes(b"abcd" if damage == "longer" else b"abX")
    (problem,) = records.broken_files(tmp_path, files)
    assert problem.startswith("sub/weights: ")
