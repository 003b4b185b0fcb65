"""Every line once, with its number, whatever the blocks, the ranges and the line ends."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sft.dataset import lines
from sft.dataset.lines import blocks, numbered, ranges
from sft.errors import DatasetError

LONG = 150


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([0, 1, 3, 40, 63, 64, 65, 149, 150, 151, 500]), max_size=12),
    st.sampled_from([10, 64, 100, 10_000]),
    st.booleans(),
    st.booleans(),
)
def test_ranges_hold_each_line_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: list[int], size: int, mark: bool, closed: bool
) -> None:
    monkeypatch.setattr(lines, "BLOCK", 64)
    monkeypatch.setattr(lines, "MAX_LINE", LONG)
    content = [bytes([97 + i]) * length for i, length in enumerate(lengths)]
    path = tmp_path / "x.jsonl"
    path.write_bytes((lines.MARK if mark else b"") + b"\n".join(content) + (b"\n" if closed and content else b""))
    expected = content if closed else content[:-1] if content and not content[-1] else content
    found: list[tuple[bytes, bool]] = []
    for start, end in ranges(path, size):
        number = 1
        for block in blocks(path, start, end):
            assert block.first == number
            here = [block.data] if block.overlong else block.lines()
            number += len(here)
            found += [(line, block.overlong) for line in here]
    assert len(found) == len(expected)
    for (line, overlong), whole in zip(found, expected):
        assert line == (whole[:LONG] if overlong else whole)
        assert not overlong or len(whole) > LONG


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_are_read_and_torn_ones_are_named(tmp_path: Path, suffix: str) -> None:
    content = b"".join(b'{"row": %d}\n' % i for i in range(50_000))
    packed = gzip.compress(content) if suffix == ".gz" else zstandard.compress(content)
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(packed)
    assert sum(1 for _ in numbered(path)) == 50_000
    assert ranges(path, 100) == [(0, len(packed))]
    path.write_bytes(packed[: len(packed) // 2] if suffix == ".gz" else b"not zstandard at all")
    with pytest.raises(DatasetError, match="is damaged"):
        list(numbered(path))
