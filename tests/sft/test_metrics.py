import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sft import metrics


def plain_distance(a: list[str], b: list[str]) -> int:
    """The textbook dynamic programme (Wagner and Fischer, 1974), written without a look at the library."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


TEXT = st.text(alphabet="01ab é\u0301\n", max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_scores_agree_with_the_textbook(pairs: list[tuple[str, str]]) -> None:
    clean = [tuple(" ".join(unicodedata.normalize("NFC", t).split()) for t in pair) for pair in pairs]
    edits = [plain_distance(list(a), list(b)) for a, b in clean]
    words = [plain_distance(a.split(), b.split()) for a, b in clean]
    scores = metrics.score(pairs)
    assert scores.cer == pytest.approx(sum(edits) / max(1, sum(len(a) for a, _ in clean)))
    assert scores.wer == pytest.approx(sum(words) / max(1, sum(len(a.split()) for a, _ in clean)))
    assert scores.ned == pytest.approx(sum(e / max(len(a), len(b), 1) for e, (a, b) in zip(edits, clean)) / len(pairs))
    assert scores.exact == pytest.approx(sum(a == b for a, b in clean) / len(pairs))


def test_the_worked_example() -> None:
    scores = metrics.score([("1234", "124"), ("56", "56")])
    assert [scores.cer, scores.ned, scores.exact] == pytest.approx([1 / 6, 1 / 8, 0.5])
    assert metrics.ned("1234", "124") == 0.25


def test_nothing_recognised_is_all_wrong_and_counted() -> None:
    scores = metrics.score([("12", ""), ("3", "3")])
    assert [scores.empty, scores.cer] == pytest.approx([1, 2 / 3])
    assert metrics.score([]).cer == 0


def test_groups_are_scored_by_themselves() -> None:
    rows = [("ocr", "1", "1"), ("table", "1", "2")]
    groups = metrics.by_group(rows, lambda r: r[0], lambda r: (r[1], r[2]))
    assert (groups["ocr"].cer, groups["table"].cer) == (0, 1)
