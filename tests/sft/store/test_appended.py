"""Lines are added while a process may be killed: each whole one is found again, whatever its text, and no torn one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from sft.store.appended import adding, entries, kept

# Surrogates alone are no text (a file in UTF-8 cannot have them).
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5)


@given(TEXTS, TEXTS, st.integers(1, 40))
@example(["one\u2028two", "a\x85b"], ["\r\x0c\x1c\u2029"], 1)
def test_every_whole_line_is_found_again_behind_one_that_a_kill_has_torn(
    before: list[str], after: list[str], torn: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with adding(folder, "one") as add:
            for text in before:
                add({"text": text})
        file = folder / "one.jsonl"
        last = len(file.read_bytes().rstrip(b"\n").rpartition(b"\n")[2])
        file.write_bytes(file.read_bytes()[: -1 - min(torn, last)])
        with adding(folder, "one") as add:
            for text in after:
                add({"text": text})
        with adding(folder, "two") as add:
            add({"text": "another's"})
        assert [entry["text"] for entry in kept(folder)] == [*before[:-1], *after, "another's"]


def test_what_is_no_object_is_left_out() -> None:
    assert list(entries(b'\n{"a": 1}\n[1]\n"a"\nNaN?\n\xff\xfe\n{"a"')) == [{"a": 1}]
