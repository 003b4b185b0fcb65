"""Tables in HTML and Markdown become OTSL, by convert and import, where nobody has to decide; else it is said why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sft.dataset.convert import convert
from sft.dataset.importing import import_dataset
from sft.dataset.layouts.base import Options
from sft.dataset.reading import read_samples
from sft.dataset.rows import Format
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file
from sft.errors import DatasetError
from sft.notation import otsl
from sft.notation.tables import kind, to_otsl
from tests.conftest import Dataset

HTML = "<table><tr><td rowspan='2'>a</td><td colspan=2>b</td></tr><tr><td>c</td><td></td></tr></table>"
OTSL = "<fcel>a<fcel>b<lcel><nl><ucel><fcel>c<ecel><nl>"


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        (HTML, OTSL),
        (f"```html\n{HTML}\n```", OTSL),
        (f"<!DOCTYPE html>\n{HTML}", OTSL),
        ("```\n| a | b |\n|---|---|\n| 1 | 2 |\n```", "<fcel>a<fcel>b<nl><fcel>1<fcel>2<nl>"),
        (
            "<HTML><BODY><TABLE><TR><TD ROWSPAN=2>a<TD>b<TR><TD>c</TABLE></BODY></HTML>",
            "<fcel>a<fcel>b<nl><ucel><fcel>c<nl>",
        ),
        (
            "<div><table border=1><thead><tr><th>x<br>y</th><th>1 &lt; <b>2</b></th></tr></thead><tbody><tr><td>3"
            "</tbody></table></div>",
            "<fcel>x y<fcel>1 < 2<nl><fcel>3<ecel><nl>",
        ),
        (
            "<table><tr><td rowspan=2 colspan=2>a<td>b<tr><td>c</table>",
            "<fcel>a<lcel><fcel>b<nl><ucel><xcel><fcel>c<nl>",
        ),
        ("<table><tr><td rowspan=9>a<td>b<tr><td>c</table>", "<fcel>a<fcel>b<nl><ucel><fcel>c<nl>"),
        ("<table><tr><td rowspan=0>a<td>b<tr><td>c</table>", "<fcel>a<fcel>b<nl><ucel><fcel>c<nl>"),
        ("| a | b |\n|:--|--:|\n| 1 | x\\|y |", "<fcel>a<fcel>b<nl><fcel>1<fcel>x|y<nl>"),
        ("a | b\n--- | ---\n1 |", "<fcel>a<fcel>b<nl><fcel>1<ecel><nl>"),
    ],
)
def test_what_needs_no_decision(table: str, wanted: str) -> None:
    found = to_otsl(table)
    assert found == wanted
    assert not otsl.unreadable(found)
    assert not otsl.problem(found)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("<table><caption>T</caption><tr><td>a</table>", "a caption"),
        ("<table><tr><td>a<table><tr><td>b</table></table>", "a table in a cell"),
        ("<table><tr><td>a</table><table><tr><td>b</table>", "more than one table"),
        ("<div>Table 1<table><tr><td>a</table></div>", "text outside the cells: 'Table 1'"),
        ("<table><tr><td>a<td rowspan=2>b<tr><td colspan=2>c</table>", "cells overlap at 'c'"),
        ("<table><tr><td colspan=many>a</table>", "colspan='many'"),
        ("<table><tr><td>&lt;nl&gt;</table>", "a token of OTSL"),
        ("<table><tr></tr></table>", "without a cell"),
        ("<table><tr><td><img src=a.png></table>", "an image in a cell"),
        ("plain", "no table in HTML or Markdown"),
    ],
)
def test_what_needs_a_decision_says_which(table: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_otsl(table)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from(["<fcel>a", "<fcel>b c", "<ecel>", "<lcel>", "<ucel>", "<xcel>"]), min_size=3, max_size=3
        ),
        min_size=1,
        max_size=4,
    ).map(lambda lines: "".join("".join(line) + "<nl>" for line in lines))
)
def test_to_html_and_back_is_the_same_table(table: str) -> None:
    if otsl.problem(table):
        return
    spans = [cell for line in otsl.cells(table) for cell in line]
    if sum(cell.rows * cell.columns for cell in spans) != 3 * table.count("<nl>"):
        return  # <lcel> below <lcel> without <xcel>: OTSL can say what HTML cannot
    assert kind(otsl.to_html(table)) == "HTML"
    assert to_otsl(otsl.to_html(table)) == table


@pytest.mark.parametrize("form", ["erniekit", "messages"])
def test_convert_writes_otsl_and_leaves_other_texts_alone(dataset: Dataset, form: Format) -> None:
    prompts = {"Table Recognition:": HTML, "OCR:": HTML, "Formula Recognition:": "x^2"}
    rows = [
        dataset.row(
            dataset.image(f"{i}.png", i), text_info=[{"text": p, "tag": "mask"}, {"text": answer, "tag": "no_mask"}]
        )
        for i, (p, answer) in enumerate(prompts.items())
    ]
    source, target = dataset.write("a.jsonl", rows), dataset.folder / "b.jsonl"
    assert convert(source, target, form) == 3
    assert [sample.answer for sample in read_samples(target, form)] == [OTSL, HTML, "x^2"]
    assert validate_file(source, DatasetConfig()).counts == {"table-format": 1}
    validate_file(target, DatasetConfig()).check()


def test_a_table_that_needs_a_decision_is_named_and_nothing_is_written(dataset: Dataset) -> None:
    turn = [{"text": "Table Recognition:", "tag": "mask"}, {"text": HTML * 2, "tag": "no_mask"}]
    source = dataset.write("a.jsonl", [dataset.row("./1.png", text_info=turn)])
    with pytest.raises(DatasetError, match=r"a\.jsonl:1: the table in HTML .* more than one table"):
        convert(source, dataset.folder / "b.jsonl", "messages")
    assert not (dataset.folder / "b.jsonl").exists()


def test_an_import_writes_otsl(tmp_path: Path) -> None:
    source = tmp_path / "scans"
    source.mkdir()
    Image.new("L", (56, 28)).save(source / "1.png")
    (source / "1.md").write_text(HTML)
    import_dataset(source, tmp_path / "data.jsonl", Options(task="table"))
    row = json.loads((tmp_path / "data.jsonl").read_text())
    assert row["text_info"][1]["text"] == OTSL
    (source / "1.md").write_text(HTML + HTML)
    with pytest.raises(DatasetError, match="more than one table"):
        import_dataset(source, tmp_path / "other.jsonl", Options(task="table"))
