"""Spotting and JSON against measures of their own, written from the papers, and their worked examples."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sft import metrics
from sft.metrics import fields, spotting
from sft.notation import documents
from sft.notation.spotting import parse

Rectangle = tuple[int, int, int, int]  # x, y, width, height


def answer(spots: list[tuple[str, Rectangle]]) -> str:
    return "\n".join(text + tokens(place) for text, place in spots)


def tokens(place: Rectangle) -> str:
    x, y, w, h = place
    values = (x, y, x + w, y, x + w, y + h, x, y + h)
    return "".join(f"<|LOC_{value}|>" for value in values)


def overlap(a: Rectangle, b: Rectangle) -> float:
    """Intersection over union of two upright rectangles: no polygons needed."""
    wide = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    high = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    shared = wide * high
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def best(wanted: list[tuple[str, Rectangle]], found: list[tuple[str, Rectangle]]) -> float:
    """The greatest sum of overlaps of a half and more over all ways to pair them, by trying all."""
    few, many = sorted((wanted, found), key=len)
    sums = [0.0]
    for chosen in itertools.permutations(many, len(few)):
        overlaps = [overlap(a[1], b[1]) for a, b in zip(few, chosen)]
        sums.append(sum(value for value in overlaps if value >= 0.5))
    return max(sums)


PLACE = st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(20, 60)] * 2)
SPOTS = st.lists(st.tuples(st.sampled_from(["Total", "12.50", "Totai", "x"]), PLACE), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(SPOTS, SPOTS)
def test_partners_are_those_that_overlap_most(wanted: list[Any], found: list[Any]) -> None:
    pairs = spotting.matched(parse(answer(wanted)), parse(answer(found)))
    overlaps = [overlap(wanted[i][1], found[j][1]) for i, j in pairs]
    assert all(value >= 0.5 - 1e-9 for value in overlaps)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs), "one to one"
    assert sum(overlaps) == pytest.approx(best(wanted, found))
    away = sum(metrics.ned(wanted[i][0], found[j][0]) for i, j in pairs)
    single = len(wanted) + len(found) - 2 * len(pairs)
    assert spotting.error(answer(wanted), answer(found)) == pytest.approx((away + single) / (len(pairs) + single))
    assert spotting.boxes_f1(answer(wanted), answer(found)) == 2 * len(pairs) / (len(wanted) + len(found))


def test_the_worked_example_of_spotting() -> None:
    truth = answer([("Total", (0, 0, 100, 20)), ("12.50", (200, 0, 100, 20))])
    said = answer([("Total", (0, 0, 100, 20)), ("12.5O", (600, 500, 100, 20))])
    assert spotting.error(truth, said) == pytest.approx(2 / 3)
    assert spotting.boxes_f1(truth, said) == 1 / 2
    assert spotting.error(truth, truth) == 0
    assert spotting.error(truth, "") == 1
    assert spotting.error("no places", "no places") == 1, "what cannot be read is right for nobody"
    assert spotting.error(truth, "Total\n12.50") == 1, "texts without places have no partners"


def test_places_that_lean_or_cross_themselves_are_compared() -> None:
    lean = "a<|LOC_0|><|LOC_100|><|LOC_100|><|LOC_0|><|LOC_200|><|LOC_100|><|LOC_100|><|LOC_200|>"
    crossed = "a<|LOC_0|><|LOC_0|><|LOC_100|><|LOC_100|><|LOC_100|><|LOC_0|><|LOC_0|><|LOC_100|>"
    flat = "a<|LOC_5|><|LOC_5|><|LOC_5|><|LOC_5|><|LOC_5|><|LOC_5|><|LOC_5|><|LOC_5|>"
    upright = "a" + tokens((0, 0, 200, 200))
    assert spotting.boxes_f1(lean, lean) == 1
    assert spotting.boxes_f1(lean, upright) == 1, "a lean square has half of the upright one's area"
    assert spotting.boxes_f1(upright, crossed) == 0
    assert spotting.boxes_f1(upright, flat) == 0, "a place without an area overlaps with nothing"


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab ", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xy", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
).filter(lambda value: isinstance(value, (dict, list)))


def plain(value: Any, path: tuple[str, ...] = ()) -> list[str]:
    """The fields of a document, as the paper describes them."""
    if isinstance(value, dict):
        return [one for key in value for one in plain(value[key], (*path, key))]
    if isinstance(value, list):
        return [one for inner in value for one in plain(inner, path)]
    text = "" if value is None else json.dumps(value) if not isinstance(value, str) else " ".join(value.split())
    return [repr((path, text))] if text else []


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_fields_are_counted_as_the_paper_says(truth: Any, said: Any) -> None:
    wanted, found = Counter(plain(truth)), Counter(plain(said))
    right = sum(min(count, found[field]) for field, count in wanted.items())
    total = wanted.total() + found.total()
    f1 = 2 * right / total if total else 1.0
    texts = json.dumps(truth), json.dumps(said)
    assert fields.error(*texts) == pytest.approx(1 - f1)
    assert fields.same(*texts) == (wanted == found)


def test_the_worked_example_of_json_and_what_is_none() -> None:
    truth, said = '{"total": "12.50", "items": ["tea", "milk"]}', '{"items": ["milk", "tea"], "total": "12.5O"}'
    assert fields.error(truth, said) == pytest.approx(1 / 3)
    assert fields.error(truth, f"```json\n{truth}\n```") == 1, "whoever parses it would fail, too"
    assert fields.error("none", "none") == 1
    assert not fields.same("none", "none")
    assert fields.error('{"a": null, "b": ""}', "{}") == 0


@pytest.mark.parametrize(
    "text", ["", "x", "12", '"a"', "null", "{", '{"a": NaN}', "[" * 5000, '{"a": 1} tail', "\ud800"]
)
def test_what_is_no_document_is_said(text: str) -> None:
    assert documents.unreadable(text)


def test_missing_keys_are_named_with_those_that_are_there() -> None:
    assert documents.lacking('{"number": 1, "sum": 2}', ["number", "total"]) == "no total; there are: number, sum"
    assert documents.lacking('[{"total": 1}, {"sum": 2}]', ["total"]) == "no total in item 2; there are: sum"
    assert documents.lacking("[1]", ["total"]) == "no object in item 1: '1'"
    assert documents.lacking('{"total": null}', ["total"]) == ""


def test_rows_are_judged_by_their_measures() -> None:
    box = tokens((0, 0, 100, 20))
    truths, answers = ["a" + box, '{"x": 1, "y": 2}', "seal"], ["a" + box, '{"y": 2, "x": 1}', "seat"]
    judged = metrics.judge(truths, answers, ["spotting", "json", "text"])
    assert judged.error == pytest.approx([0, 0, 1 / 4])
    assert list(judged.exact) == [1, 1, 0], "JSON is right whatever the order of its keys"
    assert metrics.summarise(judged).boxes == 1
    assert metrics.summarise(judged).structure is None
    assert list(metrics.judge(["a"] * 2, ["a"] * 2, ["spotting", "json"]).unreadable) == [1, 1]
