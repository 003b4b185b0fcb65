"""Every measure against an implementation of its own, written from the papers, and its worked example."""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations

import numpy as np
import pytest
from apted import APTED, Config
from hypothesis import given, settings
from hypothesis import strategies as st

from sft import metrics
from sft.metrics import table as metrics_table
from sft.metrics.chart import parse, points, rms_f1
from sft.metrics.formula import formula_distance
from sft.metrics.table import Table, edits, size, table, teds
from sft.metrics.text import Normalisation, normalise, normalise_all
from sft.notation import latex, otsl, pipes
from sft.notation.latex import tokens
from sft.notation.tables import from_grid


def plain_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """The textbook dynamic programme (Wagner and Fischer, 1974), written without a look at the library."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


TEXT = st.text(alphabet="01ab é\u0301\n\u00a0\u2003", max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_scores_agree_with_the_textbook(pairs: list[tuple[str, str]]) -> None:
    clean = [tuple(" ".join(unicodedata.normalize("NFC", t).split()) for t in pair) for pair in pairs]
    edits = [plain_distance(list(a), list(b)) for a, b in clean]
    words = [plain_distance(a.split(), b.split()) for a, b in clean]
    scores = metrics.summarise(metrics.judge([a for a, _ in pairs], [b for _, b in pairs]), intervals=False)
    assert scores.cer == pytest.approx(sum(edits) / max(1, sum(len(a) for a, _ in clean)))
    assert scores.wer == pytest.approx(sum(words) / max(1, sum(len(a.split()) for a, _ in clean)))
    assert scores.ned == pytest.approx(sum(e / max(len(a), len(b), 1) for e, (a, b) in zip(edits, clean)) / len(pairs))
    assert scores.error == scores.ned, "text is judged by the normalised edit distance"
    assert scores.exact == pytest.approx(sum(a == b for a, b in clean) / len(pairs))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["a ", "a \n\0", "a \n\0\u0301\x85\u3000"]).flatmap(
        lambda letters: st.lists(st.text(alphabet=letters, max_size=6), max_size=6)
    )
)
def test_normalising_in_bulk_is_normalising_one_by_one(texts: list[str]) -> None:
    assert normalise_all(texts) == [normalise(text) for text in texts]


def test_what_is_made_equal_can_be_chosen() -> None:
    full_width = "\uff21\uff11 b"
    assert normalise(full_width, Normalisation(unicode="NFKC", case="fold", white_space="remove")) == "a1b"
    assert normalise("e\u0301 \n x", Normalisation(unicode="none", white_space="keep")) == "e\u0301 \n x"
    loose = Normalisation(case="fold")
    assert metrics.judge(["ABC"], ["abc"], ["ocr"], loose).exact[0] == 1
    assert metrics.judge(["ABC"], ["abc"]).exact[0] == 0


def test_the_worked_example_and_nothing_recognised() -> None:
    scores = metrics.summarise(metrics.judge(["1234", "56"], ["124", "56"]))
    assert [scores.cer, scores.ned, scores.exact] == pytest.approx([1 / 6, 1 / 8, 0.5])
    nothing = metrics.summarise(metrics.judge(["12", "3"], ["", "3"]))
    assert [nothing.empty, nothing.cer] == pytest.approx([1, 2 / 3])
    assert metrics.summarise(metrics.judge(["12"], ["1" * 27])).runaway == 1
    assert metrics.summarise(metrics.judge([], [])).cer == 0


@dataclass
class Node:
    """A node of a table's tree: root, line or cell; cells have a label of their spans, and a text."""

    label: object
    text: str = ""
    children: list[Node] = field(default_factory=list)


def tree(lines: Table) -> Node:
    rows = [Node("tr", children=[Node((down, right), text) for down, right, text in line]) for line in lines]
    return Node("table", children=rows)


def rename(a: Node, b: Node) -> float:
    return 1 if a.label != b.label else plain_distance(list(a.text), list(b.text)) / max(len(a.text), len(b.text), 1)


def plain_tree_distance(a: Node, b: Node) -> float:
    """Edit distance of ordered trees by the recursion over forests (Zhang and Shasha, 1989, lemma 4)."""
    nodes: dict[int, Node] = {}

    def number(node: Node) -> tuple[int, tuple]:  # type: ignore[type-arg]
        nodes[id(node)] = node
        return id(node), tuple(number(child) for child in node.children)

    @cache
    def distance(left: tuple, right: tuple) -> float:  # type: ignore[type-arg]
        if not left and not right:
            return 0.0
        options = []
        if left:
            options.append(distance(left[:-1] + left[-1][1], right) + 1)
        if right:
            options.append(distance(left, right[:-1] + right[-1][1]) + 1)
        if left and right:
            same = rename(nodes[left[-1][0]], nodes[right[-1][0]])
            options.append(distance(left[:-1], right[:-1]) + distance(left[-1][1], right[-1][1]) + same)
        return min(options)

    return distance((number(a),), (number(b),))


class Costs(Config):  # type: ignore[misc]
    def rename(self, a: Node, b: Node) -> float:
        return rename(a, b)

    def children(self, node: Node) -> list[Node]:
        return node.children


CELL = st.sampled_from(["<fcel>a", "<fcel>bc", "<fcel>abd", "<ecel>", "<lcel>", "<ucel>", "<xcel>"])


def tables(lines: int, cells: int) -> st.SearchStrategy[str]:
    return st.lists(st.lists(CELL, max_size=cells), min_size=1, max_size=lines).map(
        lambda table: "".join("".join(line) + "<nl>" for line in table)
    )


TABLE = tables(3, 3)


@settings(max_examples=100, deadline=None)
@given(TABLE, TABLE)
def test_tables_differ_by_the_recursion_over_forests(one: str, other: str) -> None:
    a, b = table(one), table(other)
    assert edits(a, b) == pytest.approx(plain_tree_distance(tree(a), tree(b)))
    if size(a) and not otsl.unreadable(one) and not otsl.unreadable(other):
        assert teds(one, other) == pytest.approx(max(0, 1 - edits(a, b) / max(size(a), size(b))))


@settings(max_examples=100, deadline=None)
@given(tables(7, 6), tables(7, 6))
def test_larger_tables_differ_by_what_the_package_apted_says(one: str, other: str) -> None:
    a, b = table(one), table(other)
    assert edits(a, b) == pytest.approx(APTED(tree(a), tree(b), Costs()).compute_edit_distance())


def grid(lines: int, columns: int, mark: str = "") -> str:
    return "".join("".join(f"<fcel>{i}.{j}{mark}" for j in range(columns)) + "<nl>" for i in range(lines))


@pytest.mark.parametrize(
    ("truth", "answer"),
    [
        (grid(60, 12), grid(59, 12, "x")),
        (grid(60, 12), "<fcel>7" * 8000),
        (grid(60, 12), "<fcel>7<nl>" * 8000),
        (grid(60, 12), "<nl>" * 16000),
        (grid(50, 50), "<ecel>" * 16000),
        ("x | y\n" + "\n".join(f"{i} | {i}" for i in range(3000)), "x | y\n" + "7 | 7\n" * 8000),
        ("x^{2}", "x^{" * 6000),
        ("x", r"\frac{" * 3000 + "}" * 3000),
    ],
)
def test_large_tables_and_answers_that_loop_take_seconds(truth: str, answer: str) -> None:
    task = "table" if "cel>" in truth else "chart" if "|" in truth else "formula"
    started = time.process_time()
    judged = metrics.judge([truth], [answer], [task])
    assert time.process_time() - started < 10, "a loop of all that a model may say: minutes with plain trees"
    assert 0 < judged.error[0] <= 1


def test_beyond_the_bound_the_distance_is_an_upper_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = table(grid(9, 3)), table(grid(8, 3, "x"))
    exact = edits(a, b)
    monkeypatch.setattr(metrics_table, "PAIRS", 200)
    assert exact < edits(a, b) <= size(a) + size(b)


def test_teds_of_the_worked_example_and_of_what_is_no_table() -> None:
    assert teds("<fcel>a<fcel>b<nl>", "<fcel>a<fcel>x<nl>") == pytest.approx(2 / 3)
    assert teds("<fcel>a<fcel>b<nl>", "<fcel>a<fcel>x<nl>", structure_only=True) == 1
    assert teds("<fcel>a<nl>", "no table") == 0
    merged = "<fcel>a<lcel><nl><fcel>b<fcel>c<nl>"
    assert [cell.columns for cell in otsl.cells(merged)[0]] == [2]
    assert teds(merged, "<fcel>a<ecel><nl><fcel>b<fcel>c<nl>") == pytest.approx(1 - 2 / 6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"$$x^{2}$$", "x^2"),
        (r"\left( a \leq b \right)", r"(a\le b)"),
        (r"\[ \dfrac{1}{n} \, y \label{eq:1} \]", r"\frac{1}{n} y."),
        (r"\(A \land B\)", r"A\wedge B"),
        ("x^2+1", "$$ x^2+1 . $$"),
        ("x^2+1.", r"\[x^2+1.\]"),
        (r"\begin{equation}x^2+1\end{equation}", "x^2+1"),
        (r"\[\begin{aligned} a &= b \\[2pt] c &= d. \end{aligned}\]", r"\begin{align*}a&=b\\c&=d\end{align*}."),
        (r"$a$ and $b$", "a and b"),
        (r"{a \over b}", r"\frac{a}{b}"),
        (r"x^{a \over b}", r"x^{\frac{a}{b}}"),
        (r"\text{d}x", r"{\rm d}x"),
        (r"x\hspace{1em}y", r"x\quad y"),
        (r"x_a^b", r"x^b_{a}"),
        (r"x^{\prime}", "x'"),
        (r"\left. x \right|_0", "x|_0"),
        (r"\displaystyle{a+b}", "a+b"),
        (r"\displaystyle\sum\limits_i i \tag{3}", r"\sum_{i}i"),
    ],
)
def test_formulas_that_look_the_same_are_the_same(one: str, other: str) -> None:
    assert tokens(one) == tokens(other)
    assert formula_distance(one, other) == 0


def test_formulas_that_differ_are_told_apart_by_token() -> None:
    assert formula_distance("x^2", "x^{3}") == pytest.approx(1 / 3)
    assert formula_distance(r"\alpha", r"\beta") == 1, "one token, however it is spelt"
    assert formula_distance("x^{10}", "x^10") > 0, "these are two formulas"
    assert formula_distance("A", "a") == 1
    for one, other in (
        (r"\frac{a}{bc}", r"\frac{a}{b}c"),
        (".5", "5"),
        (r"\begin{cases}a\end{cases}", "a"),
        ("a&b", "ab"),
    ):
        assert formula_distance(one, other) > 0
    assert formula_distance("", "") == 1, "nothing to compare with"


@settings(max_examples=200, deadline=None)
@given(*[st.lists(st.sampled_from([*"xy2^{}", r"\alpha", " "]), max_size=10).map("".join)] * 2)
def test_formula_distance_agrees_with_the_textbook_over_tokens(truth: str, answer: str) -> None:
    if latex.unreadable(truth):
        assert formula_distance(truth, answer) == 1
        return
    wanted, found = tokens(truth), tokens(answer)
    edits = plain_distance(wanted, found) or bool(latex.problem(answer))
    assert formula_distance(truth, answer) == pytest.approx(edits / max(len(wanted), len(found), 1))


def plain_rms(truth: str, answer: str) -> float:
    """DePlot's section 3.2 with every assignment tried instead of the Hungarian method."""
    wanted, found = points(parse(truth)), points(parse(answer))
    if not found:
        return 0.0

    def away(a: str, b: str) -> float:
        d = plain_distance(list(a), list(b)) / max(len(a), len(b), 1)
        return d if d < 0.5 else 1.0

    def worth(a: tuple[str, str], b: tuple[str, str]) -> float:
        try:
            error = abs((float(a[1]) - float(b[1])) / float(a[1]))
            return (1 - away(a[0], b[0])) * (1 - error if error < 0.1 else 0)
        except (ValueError, ZeroDivisionError):
            return (1 - away(a[0], b[0])) * (1 - away(a[1], b[1]))

    few, many = sorted((wanted, found), key=len)
    best, score = math.inf, 0.0
    for chosen in permutations(range(len(many)), len(few)):
        pairs = [(few[i], many[j]) for i, j in enumerate(chosen)]
        pairs = [(a, b) if few is wanted else (b, a) for a, b in pairs]
        cost = sum(away(a[0], b[0]) for a, b in pairs) + 1e-9 * -sum(worth(a, b) for a, b in pairs)
        if cost < best:
            best, score = cost, sum(worth(a, b) for a, b in pairs)
    precision, recall = score / len(found), score / len(wanted)
    return 2 * precision * recall / (precision + recall) if score else 0.0


VALUES = st.lists(st.sampled_from(["10", "10.5", "11", "many", "0"]), min_size=2, max_size=2)


@settings(max_examples=100, deadline=None)
@given(VALUES, VALUES, st.permutations(["north", "south"]))
def test_chart_similarity_agrees_with_trying_every_assignment(a: list[str], b: list[str], order: list[str]) -> None:
    truth = f"region | share\nnorth | {a[0]}\nsouth | {a[1]}"
    answer = f"region | share\n{order[0]} | {b[0]}\n{order[1]} | {b[1]}"
    assert rms_f1(truth, answer) == pytest.approx(plain_rms(truth, answer))


def test_chart_similarity_of_the_worked_example_and_its_edges() -> None:
    truth = "x | y\na | 10\nb | 20"
    assert rms_f1(truth, "x | y\na | 10\nb | 21") == pytest.approx(0.975)
    assert rms_f1(truth, "| x | a | b |\n|---|---|---|\n| y | 10 | 20 |") == 1, "the transpose is the same table"
    assert rms_f1(truth, "no table") == 0
    corner = "| 2001 | 2002\na | 1 | 2\nb | 3 | 4"
    assert points(parse(corner)) == [("a 2001", "1"), ("a 2002", "2"), ("b 2001", "3"), ("b 2002", "4")]
    assert rms_f1(corner, "| 2001 | 2002\na | 1 | 9\nb | 3 | 9") == 0.5, "the last column counts too"
    assert rms_f1("x | y\na | 1\nb |", "x | y\na | 1\nb | 5") == 0.5, "an empty last cell"
    assert rms_f1("x | y\na | 1\na | 2", "x | y\na | 9\na | 2") == 0.5, "rows of one name"
    assert rms_f1("x | y\na | 0\nb | -5", "x | y\na | 0.0\nb | −5") == 1, "equal numbers"
    for task, measure in (("chart", rms_f1), ("table", teds)):
        unreadable = ["plain", "", "a | b", "<table><tr><td>a</td></tr></table>", "<nl>"]
        assert all(measure(one, other) == 0 for one in unreadable for other in unreadable), task


def readable_tables(rows: int = 3) -> st.SearchStrategy[str]:
    def shaped(columns: int) -> st.SearchStrategy[list[list[tuple[str, int, int]]]]:
        return st.lists(
            st.lists(st.tuples(st.sampled_from(["", "a", "b c", "1.5"]), st.just(1), st.just(1)), min_size=columns,
                     max_size=columns), min_size=1, max_size=rows)  # fmt: skip

    return st.integers(1, 3).flatmap(shaped).map(from_grid)


CHART = (
    st.lists(
        st.lists(st.sampled_from(["", "a", "7", "0", "nan", "1e999", "8 %"]), min_size=3, max_size=3),
        min_size=2,
        max_size=4,
    )
    .map(lambda lines: "\n".join(" | ".join(line) for line in lines))
    .filter(lambda text: not pipes.unreadable(text))
)
FORMULA = (
    st.lists(
        st.sampled_from([*"xy2+.'", r"\alpha", "x^2", r"\frac{a}{b}", r"{a \over b}", "_{i}", "^{j}"]),
        min_size=1,
        max_size=6,
    )
    .map(" ".join)
    .filter(lambda text: not latex.unreadable(text))
)
READABLE = {"table": readable_tables(), "chart": CHART, "formula": FORMULA}
ANYTHING = st.one_of(*READABLE.values(), TABLE, st.text(alphabet="ab|\n<>{}\\^$ ", max_size=12), st.just("<b>a</b>"))


@pytest.mark.parametrize("task", READABLE)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_measures_are_bounded_right_is_0_and_what_is_unreadable_never_right(task: str, data: st.DataObject) -> None:
    truth, answer = data.draw(READABLE[task]), data.draw(ANYTHING)
    judged = metrics.judge([truth, truth, answer, answer], [truth, answer, truth, answer], [task] * 4)
    assert ((judged.error >= 0) & (judged.error <= 1)).all()
    assert judged.error[0] == 0
    if metrics.UNREADABLE[task](answer):
        assert (judged.error[1:] > 0).all(), "also against itself"
        assert (judged.error[2:] == 1).all()
        assert list(judged.unreadable) == [0, 0, 1, 1]
    elif task != "chart":  # values differ by their share of the truth
        assert judged.error[1] == pytest.approx(judged.error[2])


def test_each_task_is_judged_by_its_own_measure() -> None:
    truths = ["ab", "<fcel>a<fcel>b<nl>", "x^2", "x | y\na | 10\nb | 20"]
    answers = ["ax", "<fcel>a<fcel>x<nl>", "x^{2}", "x | y\na | 10\nb | 21"]
    judged = metrics.judge(truths, answers, ["text", "table", "formula", "chart"])
    assert judged.error == pytest.approx([1 / 2, 1 / 3, 0, 0.025])
    assert metrics.summarise(judged).structure == 1


def test_an_interval_holds_the_rate_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(100):
        wrong = rng.random(60) < 0.3
        judged = metrics.judge(["a"] * 60, ["b" if w else "a" for w in wrong])
        low, high = metrics.summarise(judged).intervals["cer"]
        held += low <= 0.3 <= high
    assert 0.88 <= held / 100 <= 0.99, "nominally 0.95; the percentile interval is a little narrow on 60 rows"


def test_rows_of_a_document_are_drawn_together() -> None:
    """As whoever draws whole documents row by row: the same quantiles, from draws of his own."""
    rng = np.random.default_rng(7)
    documents = [f"d{number}" for number in range(12) for _ in range(int(rng.integers(1, 30)))]
    spoilt = {name: rng.random() for name in sorted(set(documents))}  # of a bad scan all lines are hard
    truths = ["abcdefgh"[: int(rng.integers(1, 9))] for _ in documents]
    answers = ["" if rng.random() < spoilt[name] else truth for name, truth in zip(documents, truths)]
    judged = metrics.judge(truths, answers, documents=documents)
    names = sorted(set(documents))
    values = []
    for _ in range(4000):
        rows = [i for name in rng.choice(names, len(names)) for i, of in enumerate(documents) if of == name]
        edits = sum(len(truths[i]) for i in rows if not answers[i])
        values.append(edits / sum(len(truths[i]) for i in rows))
    wanted = np.percentile(values, [2.5, 97.5])
    assert metrics.summarise(judged).intervals["cer"] == pytest.approx(wanted, abs=0.03)
    low, high = metrics.summarise(metrics.judge(truths, answers)).intervals["cer"]
    assert high - low < 0.7 * (wanted[1] - wanted[0]), "rows by themselves would be surer than they are"


def test_many_rows_of_few_pages_are_no_proof() -> None:
    """A candidate that is better on one of three pages, on all of its lines: chance, however many lines there are."""
    documents = [f"page {number // 100}" for number in range(300)]
    reference = ["x"] * 300
    candidate = ["a" if number < 100 else "x" for number in range(300)]
    ours, theirs = (metrics.judge(["a"] * 300, said, documents=documents) for said in (candidate, reference))
    assert metrics.differences(ours, theirs)["cer"].better < 0.95
    ours, theirs = (metrics.judge(["a"] * 300, said) for said in (candidate, reference))
    assert metrics.differences(ours, theirs)["cer"].better == 1, "as if they were three hundred witnesses"


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    rng = np.random.default_rng(6)
    hard = rng.random(300) < 0.5
    reference = metrics.judge(["ab"] * 300, ["xy" if h else "ab" for h in hard])
    candidate = metrics.judge(["ab"] * 300, ["xy" if h and i % 8 else "ab" for i, h in enumerate(hard)])
    found = metrics.differences(candidate, reference)["cer"]
    assert found.high < 0, "better on the same rows, beyond chance"
    assert found.better > 0.99
    ours, theirs = (metrics.summarise(j).intervals["cer"] for j in (candidate, reference))
    assert ours[1] > theirs[0], "while the intervals by themselves overlap"
    same = metrics.differences(reference, reference)["cer"]
    assert (same.value, same.low, same.high, same.better) == (0, 0, 0, 0)


def test_scripts_and_lengths_have_their_names() -> None:
    scripts = {
        "Latin": ("Straße 12", "ＡＢＣ１２３", "5 µm", "1ª 2º", "ℓ", "𝑥𝑦", "ʰ", "№", "ﬁ"),
        "digits": ("1984", "۱۲۳"),
        "Han": ("東京", "人々", "㈱"),
        "Japanese": ("東京へ", "ﾃｽﾄ", "ー"),
        "other": ("+", "½", ""),
        "Bengali": ("বাংলা",),
        "Greek": ("Ω", "\u2126"),
        "Bopomofo": ("ㄅㄆ",),
        "Hangul": ("한글",),
        "Thai": ("ไทย",),
    }
    for name, found in scripts.items():
        assert [metrics.script(text) for text in found] == [name] * len(found)
    assert list(metrics.rows_of(metrics.length("x" * n) for n in (300, 5, 2000, 11))) == [
        "1-10",
        "11-50",
        "201-1000",
        "over 1000",
    ]
