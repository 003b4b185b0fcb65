"""Which rows are set aside depends on their documents and on nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from sft.dataset.documents import document_of
from sft.dataset.rows import Sample
from sft.dataset.split import is_dev, place, split
from sft.errors import DatasetError, InputError
from tests.conftest import Dataset

TABLE = [{"text": "Table Recognition:", "tag": "mask"}, {"text": "<fcel>a<nl>", "tag": "no_mask"}]


def images(path: Path) -> set[str]:
    return {json.loads(line)["image_info"][0]["image_url"] for line in path.read_text().splitlines()}


def cut(source: Path, **options: object) -> tuple[set[str], set[str]]:
    train, held = source.with_name("train.jsonl"), source.with_name("held.jsonl")
    split(source, train, held, force=True, **options)  # type: ignore[arg-type]
    return images(train), images(held)


def test_documents_stay_together_and_a_grown_file_keeps_its_split(dataset: Dataset) -> None:
    rows = [dataset.row(f"./doc{d}_page_{p}.png", f"{d}-{p}") for d in range(200) for p in range(4)]
    source = dataset.write("all.jsonl", rows)
    train, held = cut(source, share=0.2)
    assert len(train) + len(held) == 800
    assert not train & held
    documents = [{name.split("_")[0] for name in part} for part in (train, held)]
    assert not documents[0] & documents[1], "pages of a document are on both sides"
    assert 20 < len(documents[1]) < 60, "about a fifth of 200 documents"
    assert cut(source, share=0.2) == (train, held)
    assert cut(source, share=0.2, seed=1) != (train, held)
    more = [dataset.row(f"./new{d}_page_{p}.png", f"{d}-{p}") for d in range(50) for p in range(4)]
    train_later, held_later = cut(dataset.write("all.jsonl", more + rows), share=0.2)
    assert train <= train_later
    assert held <= held_later


def test_every_task_is_measured(dataset: Dataset) -> None:
    rows = [dataset.row(f"./{i}.png") for i in range(300)] + [dataset.row(f"./t{i}.png", text_info=TABLE) for i in "ab"]
    source = dataset.write("all.jsonl", rows)
    result = split(source, source.with_name("a.jsonl"), source.with_name("b.jsonl"), share=0.05)
    assert result.held_out["table"] == 1
    assert 3 < result.held_out["ocr"] < 40


@pytest.mark.parametrize(
    ("names", "document"),
    [
        (("scans/doc7_page_3.png", "./scans/doc7_page_12.png", "scans\\doc7-p3.jpg"), "scans/doc7"),
        (("doc7-p3.jpg", "doc7-03.png", "doc7.pdf_3.png", "doc7.pdf/page-1.png"), "doc7"),
        (("invoice 2021-12.tif",), "invoice 2021"),
        (
            ("slips/inv6.jpg", "slips/crop_img/inv6_crop_0.jpg", "slips/inv6_crop_12.jpg", "slips/inv6_line_3.png"),
            "slips/inv6",
        ),
        (("a/doc_page_3_line_004.png", "a/doc_page_1.png"), "a/doc"),
        (("contracts/contract7/3.png", "contracts/contract7/page_004.png"), "contracts/contract7"),
        (("smith/page_3.png", "smith/p4.png"), "smith"),
        (("https://h.org/a/doc-1.png?key=1", "https://h.org/a/doc-2.png?key=2"), "h.org/a/doc"),
        (("scan_0012.tif",), "scan_0012"),
        (("a/img-0012.png",), "a/img-0012"),
        (("00012.png",), "00012"),
        (("receipt.png",), "receipt"),
        (("images/00012.png",), "images/00012"),
        (("batch1/00012.png",), "batch1/00012"),
        (("mine/00012.png",), "mine/00012"),
        (("images/page_3.png",), "images/page_3"),
        (("word_7.png",), "word_7"),
    ],
)
def test_the_document_of_a_name(names: tuple[str, ...], document: str) -> None:
    assert {document_of(name) for name in names} == {document}


def test_a_name_of_any_length_is_looked_at_in_no_time() -> None:
    for name in ("data:image/png;base64," + "A" * 10**6, "a_" * 500 + ".png", "1-" * 511, "a p1" * 255):
        start = time.process_time()
        assert document_of(name)
        assert time.process_time() - start < 1


def test_a_task_of_one_document_is_trained_and_that_is_said(dataset: Dataset) -> None:
    rows = [dataset.row(f"./{i}.png") for i in range(300)]
    rows += [dataset.row(f"./t-{i}.png", text_info=TABLE) for i in (1, 2)]
    source = dataset.write("all.jsonl", rows)
    result = split(source, source.with_name("a.jsonl"), source.with_name("b.jsonl"))
    assert (result.train["table"], result.held_out["table"]) == (2, 0)
    assert [note for note in result.notes if "table" in note] == [
        "table: its 2 rows are of one document, or of none to spare: it is trained and not measured"
    ]


def test_a_document_with_several_tasks_is_on_one_side(dataset: Dataset) -> None:
    rows = [dataset.row(f"./doc{i}-1.png") for i in range(60)]
    rows += [dataset.row(f"./doc{i}-2.png", text_info=TABLE) for i in range(3)]
    for seed in range(12):
        train, held = cut(dataset.write("all.jsonl", rows), share=0.1, seed=seed)
        assert not {name.split("-")[0] for name in train} & {name.split("-")[0] for name in held}
        for part in (train, held):
            assert any("-2" in name for name in part), "the tables are trained and measured"


def test_small_and_lopsided_sets_are_said_to_be_so(dataset: Dataset) -> None:
    source = dataset.write("all.jsonl", [dataset.row(f"./{i}.png") for i in range(3)])
    train, held = source.with_name("a.jsonl"), source.with_name("b.jsonl")
    result = split(source, train, held)
    assert (result.train.total(), result.held_out.total()) in ((2, 1), (1, 2))
    assert any("a score says little" in note for note in result.notes)
    big = [dataset.row(f"./big-{p}.png", f"{p}") for p in range(100)]
    source = dataset.write("all.jsonl", [*big, dataset.row("./small.png")])
    assert any("documents differ in size" in note for note in split(source, train, held, force=True).notes)


def test_what_cannot_be_split_leaves_nothing(dataset: Dataset) -> None:
    source = dataset.write("all.jsonl", [dataset.row("./doc-1.png"), dataset.row("./doc-2.png")])
    train, held = dataset.folder / "a.jsonl", dataset.folder / "b.jsonl"
    for options, said in (({}, "one document"), ({"share": 1.5}, "between 0 and 1"), ({"pattern": "("}, "no regular")):
        with pytest.raises(InputError, match=said):
            split(source, train, held, **options)
    dataset.write("all.jsonl", [dataset.row("./a.png"), b"{"])
    with pytest.raises(DatasetError, match=r"all\.jsonl:2"):
        split(source, train, held)
    assert sorted(p.name for p in dataset.folder.iterdir()) == ["all.jsonl"]


def test_three_files_share_no_document_and_a_grown_one_keeps_its_places(dataset: Dataset) -> None:
    rows = [dataset.row(f"./doc{d}_page_{p}.png", f"{d}-{p}") for d in range(300) for p in range(3)]
    source = dataset.write("all.jsonl", rows)
    train, held, dev = (source.with_name(f"{name}.jsonl") for name in ("train", "held", "dev"))

    def three() -> list[set[str]]:
        split(source, train, held, dev, force=True, share=0.2, dev_share=0.2)
        return [{name.split("_")[0] for name in images(path)} for path in (train, held, dev)]

    fit, judge, choose = three()
    assert not fit & judge
    assert not fit & choose
    assert not judge & choose
    assert 0.1 * 300 < len(choose) < 0.24 * 300, "a fifth of the documents that are not held out"
    cut(source, share=0.2)
    assert images(held) == images(source.with_name("held.jsonl")), "the held-out rows are those of two files"
    more = [dataset.row(f"./new{d}_page_1.png") for d in range(50)]
    dataset.write("all.jsonl", [*more, *rows])
    assert all(before <= now for before, now in zip((fit, judge, choose), three()))
    with pytest.raises(InputError, match="none of the documents is a dev one"):
        split(dataset.write("few.jsonl", rows[:9]), train, held, dev, force=True, share=0.4, dev_share=1e-9)


def test_a_runs_own_dev_rows_are_others_than_those_that_were_held_out() -> None:
    """``sft split`` leaves documents whose hash is above its share; the dev rows are drawn by another hash."""
    left = [Sample(((f"{name}.png", 0),), (("OCR:", "x"),)) for name in range(3000) if place(f"{name}", 0) >= 0.1]
    dev = sum(is_dev(sample, 0.1) for sample in left)
    assert 0.07 * len(left) < dev < 0.13 * len(left)
    assert not any(is_dev(sample, 0.0) for sample in left)
