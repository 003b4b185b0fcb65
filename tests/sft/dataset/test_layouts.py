"""Each layout that people bring, as its tool writes it: the rows that come out, or what is said and done about it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sft.dataset.importing import import_dataset
from sft.dataset.layouts import LAYOUTS, Source, recognise
from sft.dataset.layouts.base import Options
from sft.dataset.layouts.paddleocr import table_html
from sft.dataset.reading import detect_file, read_samples
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate, validate_file
from sft.errors import DatasetError, InputError
from tests.support.layouts import (
    DATA_URI,
    LFS,
    NFC,
    NFD,
    REFUSED,
    TAKEN,
    Refused,
    Taken,
    chat,
    lines,
    llava,
    parquet,
    plain,
    png,
    task,
    tree,
)

ROOT = Path(__file__).parents[3]


def rows_of(target: Path) -> list[tuple[list[str], list[tuple[str, str]]]]:
    """(images by their shade, turns) of each row of a dataset file that the validator takes."""
    validate_file(target, DatasetConfig()).check()
    found = []
    for sample in read_samples(target, detect_file(target)):
        shades = []
        for name, _ in sample.images:
            with Image.open(target.parent / name) as image:
                shades.append(str(image.convert("L").getpixel((0, 0))))
        found.append((shades, list(sample.turns)))
    return found


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.id)
def test_what_needs_no_decision_is_imported(tmp_path: Path, case: Taken) -> None:
    source = tree(tmp_path / "in", case.files) / case.source
    options = Options(
        **{**vars(case.options), "images": tmp_path / "in" / case.options.images if case.options.images else None}
    )
    notes: list[str] = []
    target = tmp_path / "out" / "all.jsonl"
    assert import_dataset(source, target, options, notes.append) == len(case.rows)
    assert rows_of(target) == case.rows
    assert case.says in "\n".join(notes)
    assert not list(target.parent.rglob(".*")), "nothing temporary is left"


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_what_cannot_be_used_says_what_to_do_and_writes_nothing(tmp_path: Path, case: Refused) -> None:
    source = tree(tmp_path / "in", case.files) / case.source
    target = tmp_path / "out" / "all.jsonl"
    with pytest.raises(InputError) as caught:
        import_dataset(source, target, case.options)
    for said in case.says:
        assert said in str(caught.value)
    assert caught.value.remedy, "every error says what to do next"
    assert len(str(caught.value)) < 1500
    assert not target.parent.exists() or not list(target.parent.iterdir())


OURS = {
    "image_info": [{"matched_text_index": 0, "image_url": "a.png"}],
    "text_info": [{"text": "OCR:", "tag": "mask"}, {"text": "绿茶一盒", "tag": "no_mask"}],
}
ALTO = (
    '<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Layout><Page><PrintSpace><TextBlock><TextLine>'
    '<String CONTENT="two"/><SP/><String CONTENT="words"/></TextLine><TextLine><String CONTENT="more"/></TextLine>'
    "</TextBlock></PrintSpace></Page></Layout></alto>"
)
PAGE = (
    '<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"><Page><TextRegion><TextLine>'
    "<TextEquiv><Unicode>two words</Unicode></TextEquiv></TextLine><TextLine><TextEquiv><Unicode>more</Unicode>"
    "</TextEquiv></TextLine></TextRegion></Page></PcGts>"
)
COCO = {"images": [{"id": 3, "file_name": "a.png"}], "annotations": [{"image_id": 3, "utf8_string": "two words"}]}
FUNSD = {"form": [{"box": [1, 1, 9, 9], "text": "two words", "words": []}, {"text": "more"}]}
LABELME = {"shapes": [{"label": "two words"}, {"label": "text", "description": "more"}], "imagePath": "a.png"}


@pytest.mark.parametrize(
    ("name", "content", "answer"),
    [
        ("a.xml", ALTO, "two words\nmore"),
        ("a.xml", PAGE, "two words\nmore"),
        ("coco.json", json.dumps(COCO), "two words"),
        ("a.json", json.dumps(LABELME), "two words\nmore"),
        ("a.json", json.dumps(FUNSD), "two words\nmore"),
    ],
)
def test_the_lines_that_convert_a_layout_do_so(tmp_path: Path, name: str, content: str, answer: str) -> None:
    tree(tmp_path, {"a.png": 1, name: content})
    with pytest.raises(InputError) as caught:
        import_dataset(tmp_path / name, tmp_path / "all.jsonl", Options())
    command = re.search(r'python (-c ".*" > \S+?)[,;]', caught.value.remedy)
    assert command, caught.value.remedy
    subprocess.run(f"{sys.executable} {command.group(1)}", shell=True, check=True)
    import_dataset(tmp_path / "labels.txt" if name == "coco.json" else tmp_path, tmp_path / "all.jsonl", Options())
    assert rows_of(tmp_path / "all.jsonl") == plain((1, answer))


def test_the_guide_lists_every_layout() -> None:
    guide = (ROOT / "docs" / "importing.md").read_text()
    listed = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", guide, re.MULTILINE)
    assert {name: looks for name, looks in listed if not name.startswith("-")}.items() >= {
        layout.name: layout.looks for layout in LAYOUTS
    }.items()
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)


def test_a_corrected_image_of_the_same_size_and_time_is_copied_again(tmp_path: Path) -> None:
    source = tree(tmp_path / "scans", {"a.bmp": b"", "a.txt": "x", "b.png": 4, "b.txt": "y"})
    Image.new("L", (56, 28), 1).save(source / "a.bmp")
    target = tmp_path / "out" / "all.jsonl"
    import_dataset(source, target, Options())
    kept = next((tmp_path / "out").rglob("b.png")).stat().st_mtime_ns
    before = (source / "a.bmp").stat()
    Image.new("L", (56, 28), 9).save(source / "a.bmp")
    for path in (source / "a.bmp", next((tmp_path / "out").rglob("a.bmp"))):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (source / "a.bmp").stat().st_size == before.st_size
    import_dataset(source, target, Options(force=True))
    assert rows_of(target) == plain((9, "x"), (4, "y"))
    assert next((tmp_path / "out").rglob("b.png")).stat().st_mtime_ns == kept, "what is the same stays"


def test_sources_of_one_name_never_share_a_file_and_names_survive(tmp_path: Path) -> None:
    for number, folder in enumerate(("x", "y")):
        tree(tmp_path / folder / "scans", {"deep/doc_page_1.png": number, "deep/doc_page_1.txt": f"of {folder}"})
        import_dataset(tmp_path / folder / "scans", tmp_path / "out" / f"{folder}.jsonl", Options())
    assert rows_of(tmp_path / "out" / "x.jsonl") == plain((0, "of x"))
    assert rows_of(tmp_path / "out" / "y.jsonl") == plain((1, "of y"))
    assert len(list((tmp_path / "out").rglob("deep/doc_page_1.png"))) == 2


def test_two_shards_may_use_one_name(tmp_path: Path) -> None:
    shards = {
        f"train-{i}.parquet": parquet({"image": {"bytes": png(i), "path": "0.png"}, "text": str(i)}) for i in (1, 2)
    }
    import_dataset(tree(tmp_path / "hub", {**shards}), tmp_path / "out" / "all.jsonl", Options())
    assert rows_of(tmp_path / "out" / "all.jsonl") == plain((1, "1"), (2, "2"))


def test_linked_folders_are_read_once_and_never_in_circles(tmp_path: Path) -> None:
    nas = tree(tmp_path / "nas", {"2024/x.png": 2, "2024/x.txt": "in nas"})
    source = tree(tmp_path / "scans", {"here.png": 1, "here.txt": "here", "lost": "../nas/2024"})
    (source / "linked").symlink_to(nas / "2024")
    (source / "again").symlink_to(nas / "2024")
    (source / "round").symlink_to(source)
    (source / "above").symlink_to(tmp_path)
    notes: list[str] = []
    target = tmp_path / "out" / "all.jsonl"
    assert import_dataset(source, target, Options(), notes.append) == 2
    assert {text for _, turns in rows_of(target) for _, text in turns} == {"here", "in nas"}
    assert any("linked folders that were read" in note for note in notes)
    assert any("texts of links" in note and "cp -rL" in note for note in notes)


def test_an_earlier_import_and_its_splits_are_no_part_of_the_source(tmp_path: Path) -> None:
    source = tree(tmp_path / "scans", {"a.png": 1, "a.txt": "x"})
    import_dataset(source, source / "all.jsonl", Options())
    (source / "all.train.jsonl").write_bytes((source / "all.jsonl").read_bytes())
    import_dataset(source, source / "all.jsonl", Options(force=True))
    assert rows_of(source / "all.jsonl") == plain((1, "x"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.json", json.dumps([llava("<image>\nOCR:", "x", image="a.png")]), "a file of chats"),
        (
            "l.jsonl",
            lines(chat([{"type": "image"}, {"type": "text", "text": "OCR:"}], "x", images=["a.png"])),
            "a file of chats",
        ),
        ("metadata.jsonl", lines({"file_name": "a.png", "text": "x"}), "a table or list"),
        ("e.json", json.dumps([task("/data/upload/1/a.png", "x")], indent=1), "an export of Label Studio"),
        ("l.txt", "a.png\tx\n", "a label file of PaddleOCR"),
        ("t.parquet", parquet({"image": png(1), "text": "x"}), "a table or list"),
    ],
)
def test_validate_names_another_layout_and_its_advice_works(tmp_path: Path, name: str, content: Any, says: str) -> None:
    path = tree(tmp_path, {"a.png": 1, name: content}) / name
    with pytest.raises(DatasetError, match=f"this is {says}") as caught:
        validate_file(path, DatasetConfig())
    _, _, source, target = caught.value.remedy.split()
    import_dataset(Path(source), Path(target), Options())
    assert rows_of(Path(target)) == plain((1, "x"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps([OURS]).encode(), "not one object in each line"),
        (json.dumps([OURS], indent=1).encode(), "not one object in each line"),
        (json.dumps(OURS, indent=1).encode(), "not one object in each line"),
        (json.dumps(OURS, ensure_ascii=False).encode("utf-16"), "UTF-16"),
        (json.dumps(OURS, ensure_ascii=False).encode("gb18030"), "it may be gb18030"),
    ],
)
def test_rows_of_ours_written_otherwise_are_named_and_the_advice_works(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tree(tmp_path, {"a.png": 1, "t.jsonl": content}) / "t.jsonl"
    with pytest.raises(DatasetError, match=says) as caught:
        validate_file(path, DatasetConfig())
    _, _, source, target, *more = caught.value.remedy.split()
    import_dataset(Path(source), Path(target), Options(encoding="".join(more).removeprefix("--encoding")))
    assert rows_of(Path(target)) == plain((1, "绿茶一盒"))


def test_findings_about_images_name_what_is_meant(tmp_path: Path) -> None:
    names = [
        NFC,
        "IMG\\b.png",
        "D:\\x\\img\\b.png",
        "img%2Fb.png",
        DATA_URI,
        "lfs.png",
        "s3://b/x.png?X-Amz-Signature=5ec7e7",
    ]
    tree(tmp_path, {NFD: 1, "img/b.png": 2, "lfs.png": LFS})
    rows = [
        {
            "image_info": [{"image_url": name}],
            "text_info": [{"text": "OCR:", "tag": "mask"}, {"text": "x", "tag": "no_mask"}],
        }
        for name in names
    ]
    (tmp_path / "l.jsonl").write_text(lines(*rows))
    report = validate_file(tmp_path / "l.jsonl", DatasetConfig())
    assert report.counts == {"image-missing": 4, "image-inline": 1, "image-lfs": 1, "image-remote": 1}
    found = {int(f.where.rpartition(":")[2]): f.value for f in report.shown}
    assert f"while {NFD} exists" in found[1]
    assert all("while img/b.png exists" in found[n] for n in (2, 3, 4))
    assert len(found[5]) < 100
    assert "5ec7e7" not in "\n".join(found.values())
    assert recognise(Source(tmp_path / "l.jsonl")) is not None


def test_a_document_in_two_sets_and_contradicting_texts_are_findings(tmp_path: Path) -> None:
    tree(tmp_path, {"c1_page_1.png": 1, "c1_page_2.png": 2, "other.png": 3, "copy.png": 3, "twice.png": 3})

    def row(image: str, text: str, prompt: str = "OCR:") -> dict[str, Any]:
        return {
            "image_info": [{"image_url": image}],
            "text_info": [{"text": prompt, "tag": "mask"}, {"text": text, "tag": "no_mask"}],
        }

    train, held = tmp_path / "train.jsonl", tmp_path / "held.jsonl"
    train.write_text(
        lines(
            row("c1_page_1.png", "a"),
            row("other.png", "b"),
            row("copy.png", "c"),
            row("twice.png", "c"),
            row("other.png", "x", "Formula Recognition:"),
        )
    )
    held.write_text(lines(row("c1_page_2.png", "d")))
    report = validate(train, held, DatasetConfig())
    assert report.counts == {"leak-document": 1, "conflict": 1, "duplicate": 1}
    found = {finding.rule: finding for finding in report.shown}
    assert (found["leak-document"].where, found["leak-document"].value) == (
        f"{train}:1",
        "document c1, also in held_out",
    )
    assert found["conflict"].where == f"{train}:3"
    assert "line 2" in found["conflict"].value
    again = tmp_path / "elsewhere" / "held.jsonl"
    tree(again.parent, {"c1_page_2.png": 2})
    again.write_text(held.read_text())
    assert not validate(train, again, DatasetConfig()).counts["leak-document"], (
        "another folder's c1 is another document"
    )


ROW = ["<tr>", "<td>", "</td>", "<td>", "</td>", "</tr>"]
CELLS = [{"tokens": ["<b>", "i", "t", "</b>"]}, {"tokens": []}, {"tokens": ["q", "t", "y"]}]
MERGED = ["<tr>", "<td", ' colspan="2"', ">", "</td>", "</tr>"]
TABLE = {"filename": "a.png", "html": {"structure": {"tokens": [*MERGED, *ROW]}, "cells": CELLS}}


def test_table_labels_of_ppocrlabel(tmp_path: Path) -> None:
    assert table_html(TABLE) == '<table><tr><td colspan="2"><b>it</b></td></tr><tr><td></td><td>qty</td></tr></table>'
    source = tree(tmp_path, {"a.png": 1, "gt.txt": lines(TABLE)}) / "gt.txt"
    import_dataset(source, tmp_path / "all.jsonl", Options())
    otsl = "<fcel>it<lcel><nl><ecel><fcel>qty<nl>"
    assert rows_of(tmp_path / "all.jsonl") == plain((1, otsl), prompt="Table Recognition:")
