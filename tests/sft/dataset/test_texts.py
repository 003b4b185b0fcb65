"""Texts that a model should not learn from are named, good ones in any script are not."""

from __future__ import annotations

import json

import pytest

from sft.dataset import texts
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file
from sft.errors import DatasetError
from sft.notation.otsl import problem, to_html
from tests.conftest import Dataset

PROMPTS = {
    "ocr": "OCR:",
    "table": "Table Recognition:",
    "formula": "Formula Recognition:",
    "chart": "Chart Recognition:",
}


def found(dataset: Dataset, answer: str, task: str = "ocr", config: DatasetConfig | None = None) -> dict[str, int]:
    """What the validator counts for one row; the way without images must agree."""
    turn = [{"text": PROMPTS[task], "tag": "mask"}, {"text": answer, "tag": "no_mask"}]
    path = dataset.write("t.jsonl", [dataset.row(dataset.image("a.png"), text_info=turn)])
    counts = validate_file(path, config or DatasetConfig()).counts
    assert validate_file(path, config or DatasetConfig(), images=False).counts == counts
    return dict(counts)


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ("a\x07b", "control"),
        ("zero\u200bwidth", "control"),
        ("\ufeffmark", "control"),
        ("\u202eevil", "control"),
        ("caf\ufffd", "replacement"),
        ("cafe\u0301", "normal-form"),
        ("---", "near-empty"),
        ("…", "near-empty"),
        ("see ![figure 3](<image>) below", "placeholder"),
        ("press play: <video>", "placeholder"),
        ("the end</s> and more", "special-token"),
        ("<s>struck out</s>", "special-token"),
        ("<|end_of_sentence|>tail", "special-token"),
        ("<|IMAGE_PLACEHOLDER|>", "special-token"),
        ("left <fcel> right", "table-token"),
    ],
)
def test_bad_texts(dataset: Dataset, answer: str, rule: str) -> None:
    assert found(dataset, answer) == {rule: 1}


def test_a_token_is_found_however_json_writes_it(dataset: Dataset) -> None:
    row = json.dumps(dataset.row(dataset.image("a.png"), "the end</s> and more")).replace("<", "\\u003c")
    report = validate_file(dataset.write("t.jsonl", [row.encode()]), DatasetConfig())
    assert report.counts == {"special-token": 1}


def test_an_image_mark_in_an_answer_is_found_in_the_messages_format_too(dataset: Dataset) -> None:
    turn = [{"role": "user", "content": "<image>OCR:"}, {"role": "assistant", "content": "a picture <image> of it"}]
    good = [turn[0], {"role": "assistant", "content": "nothing but words"}]
    rows = [{"messages": each, "images": [dataset.image(f"{n}.png", n)]} for n, each in enumerate((good, turn, good))]
    for images in (True, False):
        report = validate_file(dataset.write("t.jsonl", rows), DatasetConfig(), images=images)
        assert [(f.rule, f.where.rsplit(":", 1)[1]) for f in report.shown] == [("placeholder", "2")]


@pytest.mark.parametrize(
    "answer",
    [
        "বাংলা লেখা",
        "日本語\tです",
        "نص عربي",
        "می\u200cخواهم",
        "क्\u200dष",
        "line\nline",
        "\u17c6",
        "+",
        "€",
        "½",
        "7",
        "-" * 20,
        "a < b",
        "<b>bold</b>",
        "<|LOC_12|>",
    ],
)
def test_good_texts(dataset: Dataset, answer: str) -> None:
    assert found(dataset, answer) == {}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("<fcel>a<ecel><nl><fcel>b<fcel>c<nl>", ""),
        ("<fcel>a<lcel><nl><ucel><xcel><nl>", ""),
        ("<fcel>a<lcel><nl><fcel>b<fcel>c<nl>", ""),
        ("<fcel>a<fcel>b<nl><fcel>c<nl>", "line 2 has 1 cells, line 1 has 2"),
        ("<lcel><fcel>b<nl>", "<lcel> without a cell on its left"),
        ("<ucel><fcel>b<nl>", "<ucel> without a cell above"),
        ("<fcel>a<xcel><nl>", "<xcel> outside"),
        ("<fcel>a<fcel>b", "not closed by <nl>"),
        ("<fcel>a<lcel>b<nl>", "text behind <lcel>"),
        ("Table: <fcel>a<nl>", "text before the first token"),
    ],
)
def test_tables(dataset: Dataset, table: str, said: str) -> None:
    assert said in problem(table)
    assert bool(said) == bool(problem(table))
    assert found(dataset, table, "table") == ({"otsl": 1} if said else {})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("<table><tr><td>a</td></tr></table>", "HTML, no OTSL token"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "Markdown, no OTSL token"),
        ("a  b\n1  2", "text, no OTSL token"),
        ("<nl><nl>", "no cell"),
    ],
)
def test_what_is_no_table_in_otsl_is_an_error_that_says_what_it_is(dataset: Dataset, table: str, said: str) -> None:
    assert said in texts.table_problem(table)
    assert found(dataset, table, "table") == {"table-format": 1}
    with pytest.raises(DatasetError, match="sft convert"):
        validate_file(dataset.folder / "t.jsonl", DatasetConfig()).check()
    validate_file(dataset.folder / "t.jsonl", DatasetConfig(rules={"table-format": "warning"})).check()


def test_a_table_as_html() -> None:
    table = "<fcel>a & b<lcel><fcel>c<nl><ucel><xcel><fcel>d<nl><fcel>1<ecel><fcel>2<nl>"
    assert to_html(table) == (
        '<table><tr><td rowspan="2" colspan="2">a &amp; b</td><td>c</td></tr><tr><td>d</td></tr>'
        "<tr><td>1</td><td></td><td>2</td></tr></table>"
    )


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (r"\frac{1}{2}", ""),
        (r"\left\{ a \right.", ""),
        (r"\{ x_{i} \}", ""),
        (r"\begin{array}{cc} a & b \\ c & d \end{array}", ""),
        (r"\begin {array} {c} a \end{array}", ""),
        (r"\begin {array} {c} a \end{cases}", r"\end{cases}"),
        (r"\leftarrow x", ""),
        (r"\frac{1}{2", "1 { not closed"),
        (r"a}", "a } too many"),
        (r"\begin{matrix} a \end{pmatrix}", r"\end{pmatrix} without its \begin"),
        (r"\begin{matrix} a", r"\begin{matrix} without its \end"),
        (r"\left( a", r"1 \left, 0 \right"),
        (r"\left( {a \right) }", r"groups cross at \right"),
        (r"x^", "nothing behind ^"),
        (r"{x_}", "nothing behind _"),
        ("$x", "a $ without its partner"),
        (r"$$ \, $$", "without a symbol"),
        ("50 % {of", ""),
        (r"\text{50\% of \{a}", ""),
    ],
)
def test_formulas(dataset: Dataset, formula: str, said: str) -> None:
    assert said in texts.latex_problem(formula)
    assert found(dataset, formula, "formula") == ({"latex": 1} if said else {})


@pytest.mark.parametrize(
    ("chart", "good"),
    [
        ("year | a | b\n2001 | 1 | 2", True),
        ("| y | a |\n| 1 | 2 |", True),
        ("| 2001 | 2002\na | 1 | 2", True),
        ("y | 2001\na | 1\nb |", True),
        ("| | a |\n|---|---|\n| 1 | |", True),
        ("y | a\n1 | 2 | 3", False),
    ],
)
def test_charts(dataset: Dataset, chart: str, good: bool) -> None:
    assert found(dataset, chart, "chart") == ({} if good else {"chart": 1})


@pytest.mark.parametrize("chart", ["just words", "a | b", "one\ntwo", "| a |\n| b |"])
def test_what_is_no_table_of_a_chart_is_an_error(dataset: Dataset, chart: str) -> None:
    assert found(dataset, chart, "chart") == {"chart-format": 1}
    with pytest.raises(DatasetError, match="a header and values"):
        validate_file(dataset.folder / "t.jsonl", DatasetConfig()).check()


def test_rules_are_raised_lowered_and_switched_off(dataset: Dataset) -> None:
    config = DatasetConfig(rules={"near-empty": "error", "control": "off"})
    assert found(dataset, "…\u200b", config=config) == {"near-empty": 1}
    path = dataset.folder / "t.jsonl"
    with pytest.raises(DatasetError, match="error near-empty"):
        validate_file(path, config).check()


@pytest.mark.parametrize(
    ("rules", "said"),
    [({"near-emtpy": "error"}, "perhaps 'near-empty'"), ({"image-missing": "warning"}, "always an error")],
)
def test_rules_that_cannot_be_set(rules: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DatasetConfig.model_validate({"rules": rules})
