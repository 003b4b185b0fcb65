"""The typed decoder, the plain explanation and the JSON schema must say the same of every row."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sft.dataset import rows, schema
from sft.dataset.rules import MAX_TURNS, RULES

TEXT = st.sampled_from(["OCR:", "12", " ", "", "<image>", "<image>OCR:", "\u2003", "a\nb", "{\\frac{1}{2}}"])
JUNK: st.SearchStrategy[Any] = st.sampled_from([None, 1, 1.5, True, "", "x", [], {}, -2])
SCHEMA = jsonschema.Draft202012Validator(schema.schema())


def ernie_item() -> st.SearchStrategy[Any]:
    item = st.fixed_dictionaries({"text": TEXT | JUNK, "tag": st.sampled_from(["mask", "no_mask"]) | JUNK})
    return item | JUNK


def good_turns(tags: tuple[str, str], tag: str, text: str) -> st.SearchStrategy[list[Any]]:
    def build(texts: list[str]) -> list[Any]:
        return [{tag: tags[i % 2], text: value} for i, value in enumerate(texts)]

    return st.lists(TEXT, max_size=2 * MAX_TURNS + 3).map(build)


ERNIE = st.fixed_dictionaries(
    {},
    optional={
        "image_info": st.lists(
            st.fixed_dictionaries(
                {"image_url": st.sampled_from(["./a.png", ""]) | JUNK},
                optional={"matched_text_index": st.integers(-1, 17) | JUNK},
            )
            | JUNK,
            max_size=3,
        )
        | JUNK,
        "text_info": good_turns(("mask", "no_mask"), "tag", "text") | st.lists(ernie_item(), max_size=5) | JUNK,
        "extra": JUNK,
    },
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "messages": good_turns(("user", "assistant"), "role", "content") | JUNK,
        "images": st.lists(st.sampled_from(["./a.png", "b.png", ""]) | JUNK, max_size=3) | JUNK,
    },
)


def check_agreement(row: Any, form: rows.Format) -> None:
    line = json.dumps(row).encode()
    found = rows.breaches(line, form)
    assert (rows.decode(line, form) is not None) == (not found)
    assert all(rule in RULES for rule, _ in found)
    beyond_schema = [rule for rule, _ in found if not RULES[rule].in_schema]
    branch = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{form}", "$defs": schema.schema()["$defs"]})
    if not beyond_schema:
        assert branch.is_valid(row) == (not found), found
    elif len(beyond_schema) == len(found):
        assert branch.is_valid(row), "the schema refuses what only other rules refuse"


@settings(max_examples=500, deadline=None)
@given(ERNIE)
@example({"image_info": [{"image_url": "a"}], "text_info": [{"text": "OCR:", "tag": "mask"}]})
@example(
    {
        "image_info": [{"image_url": "a", "matched_text_index": 2.0}],
        "text_info": [{"text": "a", "tag": "mask"}, {"text": "b", "tag": "no_mask"}] * 2,
    }
)
def test_erniekit_rows(row: Any) -> None:
    check_agreement(row, "erniekit")


@settings(max_examples=500, deadline=None)
@given(MESSAGES)
def test_messages_rows(row: Any) -> None:
    check_agreement(row, "messages")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_row_or_a_finding(line: bytes) -> None:
    forms: tuple[rows.Format, ...] = ("erniekit", "messages")
    for form in forms:
        assert (rows.decode(line, form) is not None) == (not rows.breaches(line, form))
        rows.detect(line)


def test_deeply_nested_json_is_a_finding() -> None:
    line = b"[" * 100_000 + b"]" * 100_000
    assert [rule for rule, _ in rows.breaches(line, "erniekit")] == ["json"]


def test_the_schema_in_configs_is_the_one_that_the_rules_make() -> None:
    path = Path(__file__).parents[3] / "configs" / "dataset.schema.json"
    assert json.loads(path.read_text()) == schema.schema(), (
        "run: python -m sft.dataset.schema > configs/dataset.schema.json"
    )


def sample(turns: list[tuple[str, str]], images: list[tuple[str, int]]) -> rows.Sample:
    return rows.Sample(tuple(images), tuple(turns))


PROMPT = st.text(min_size=1, max_size=20).filter(lambda t: t.strip() != "" and "<image>" not in t)
SAMPLES = st.lists(st.tuples(PROMPT, PROMPT), min_size=1, max_size=MAX_TURNS).flatmap(
    lambda turns: st.lists(
        st.tuples(st.text("abc./", min_size=1, max_size=8), st.integers(0, len(turns) - 1)), min_size=1, max_size=3
    ).map(lambda images: sample(turns, sorted(images, key=lambda image: image[1])))
)


@settings(max_examples=300, deadline=None)
@given(SAMPLES)
def test_conversion_there_and_back_loses_nothing(original: rows.Sample) -> None:
    line = json.dumps(rows.to_messages(original)).encode()
    read = rows.decode(line, "messages")
    assert read == original
    line = json.dumps(rows.to_erniekit(read)).encode()
    assert rows.decode(line, "erniekit") == original


@pytest.mark.parametrize(
    ("line", "form"),
    [(b'{"text_info": 1}', "erniekit"), (b'{"messages": []}', "messages"), (b"{}", None), (b"[1]", None), (b"x", None)],
)
def test_the_format_is_seen_by_the_keys(line: bytes, form: str | None) -> None:
    assert rows.detect(line) == form


@pytest.mark.parametrize("role", ["system", "tool", "human"])
def test_other_roles_are_named(role: str) -> None:
    turns = [{"role": "user", "content": "<image>OCR:"}, {"role": "assistant", "content": "a"}]
    row = {"messages": [{"role": role, "content": "You read signs."}, *turns], "images": ["a.png"]}
    assert ("role", f"messages[0].role: {role!r}") in rows.breaches(json.dumps(row).encode(), "messages")
