"""Spotting is read as PaddleX reads it, and what cannot be read is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft.notation import spotting
from sft.notation.spotting import Spot, corners_of, line, parse, unreadable

CASES = json.loads((Path(__file__).parents[2] / "fixtures" / "paddlex_spotting.json").read_text())["cases"]


def tokens(*values: int) -> str:
    return "".join(f"<|LOC_{value}|>" for value in values)


BOX = tokens(100, 200, 300, 200, 300, 260, 100, 260)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_answers_are_read_as_paddlex_reads_them(case: dict[str, object]) -> None:
    """Its own output, recorded; only a text without a place is one here, and nothing there."""
    width, height = int(str(case["width"])), int(str(case["height"]))
    placed = [spot for spot in parse(str(case["answer"])) if spot.box]
    ours = {
        "rec_polys": [[list(corner) for corner in spot.pixels(width, height)] for spot in placed],
        "rec_texts": [spot.text for spot in placed],
    }
    assert ours == case["result"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (f"Total{BOX}\n12.50{BOX}", ""),
        (f"two in a line{BOX}and more{BOX}", ""),
        ("Total", "no tokens of places"),
        (f"Total{BOX}\n12.50{tokens(1, 2, 3, 4)}", "line 2: 4 tokens of places behind a text, not 8"),
        (f"Total{tokens(*range(16))}", "line 1: 16 tokens"),
        (f"Total{BOX}\n{BOX}", "line 2: a place without a text"),
        (f"Total{BOX}\nalone", "line 2: 'alone' has no place"),
        (f"Total{BOX} tail", "line 1: 'tail' has no place"),
        (f"Total{tokens(1, 2, 3, 4, 5, 6, 7, 1001)}", "line 1: <|LOC_1001|> is over 1000"),
    ],
)
def test_what_is_no_spotting_is_named_with_its_line(answer: str, said: str) -> None:
    assert unreadable(answer).startswith(said)
    assert bool(unreadable(answer)) == bool(said)


def test_texts_without_a_place_are_kept_and_say_so() -> None:
    found = parse(f"head\nTotal{BOX}\nx{tokens(1, 2, 3)}\ntail")
    assert [(spot.text, bool(spot.box)) for spot in found] == [
        ("head", False),
        ("Total", True),
        ("x", False),
        ("tail", False),
    ]


POINTS = st.tuples(st.integers(0, 640), st.integers(0, 480))


@given(
    st.lists(
        st.tuples(st.text("ab cé1", min_size=1).filter(str.strip), st.lists(POINTS, min_size=4, max_size=4)), min_size=1
    )
)
def test_what_is_written_is_read_back_to_a_thousandth(lines: list[tuple[str, list[tuple[int, int]]]]) -> None:
    answer = "\n".join(line(text, corners, 640, 480) for text, corners in lines)
    assert unreadable(answer) == ""
    for spot, (text, corners) in zip(parse(answer), lines, strict=True):
        assert spot.text == " ".join(text.split())
        for (x, y), (right_x, right_y) in zip(spot.pixels(640, 480), corners, strict=True):
            assert abs(x - right_x) <= 0.33
            assert abs(y - right_y) <= 0.25


def test_corners_begin_at_the_top_left_and_go_clockwise() -> None:
    square = [(0.0, 0.0), (9.0, 0.0), (9.0, 4.0), (0.0, 4.0)]
    for start in range(4):
        turned = square[start:] + square[:start]
        assert corners_of(turned) == square
        assert corners_of(list(reversed(turned))) == square
    assert corners_of([(1.0, 2.0), (5.0, 1.0), (6.0, 3.0), (4.0, 5.0), (2.0, 4.0)]) == [(1, 1), (6, 1), (6, 5), (1, 5)]
    with pytest.raises(ValueError, match="two corners"):
        corners_of([(1.0, 2.0)])
    with pytest.raises(ValueError, match="a place has 4"):
        line("a", square[:3], 10, 10)


def test_places_scale_with_the_picture() -> None:
    assert Spot("a", (0, 0, 1000, 0, 1000, 500, 0, 500)).pixels(200, 100) == [(0, 0), (200, 0), (200, 50), (0, 50)]
    assert spotting.has_tokens("x<|LOC_3|>")
    assert not spotting.has_tokens("x <LOC_3>")
