"""Each layout that people bring, as its tool writes it: the rows that come out, or what is said and done about it."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sft.config.model import DatasetConfig
from sft.dataset.importing import import_dataset
from sft.dataset.layouts import LAYOUTS, Source, recognise
from sft.dataset.layouts.base import Options
from sft.dataset.reading import detect_file, read_samples
from sft.dataset.validate import validate, validate_file
from sft.errors import DatasetError, InputError

ROOT = Path(__file__).parents[2]
Files = dict[str, "str | bytes | int"]  # name → text, bytes, or the shade of an image
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1234\n"


def png(shade: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (56, 28), shade).save(buffer, kind)
    return buffer.getvalue()


def tree(root: Path, files: Files) -> Path:
    """Write the files; a number becomes an image of that shade."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, int):
            content = png(content, "JPEG" if path.suffix in (".jpg", ".jfif") else "PNG")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


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


def plain(*pairs: tuple[int, str], prompt: str = "OCR:") -> list[tuple[list[str], list[tuple[str, str]]]]:
    return [([str(shade)], [(prompt, text)]) for shade, text in pairs]


def boxes(*texts: str) -> str:
    return json.dumps([{"transcription": text, "points": [[0, 0]], "difficult": False} for text in texts])


def lines(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def parquet(*records: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(records)), buffer)
    return buffer.getvalue()


def tar(*members: tuple[str, bytes | None], mode: str = "w") -> bytes:
    """A tar of files; None: a link to /etc/hosts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/hosts"
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue()


def chat(prompt: Any, answer: Any, **extra: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **extra}


def llava(prompt: str, answer: str, **extra: Any) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": answer}], **extra}


def task(image: str, *texts: str, **changes: Any) -> dict[str, Any]:
    """A task of Label Studio as its JSON export has it: a rectangle, a label and a text of each region."""
    results = [
        {
            "id": str(n),
            "type": kind,
            "to_name": "image",
            "value": {"x": 1, **({"text": [t]} if kind == "textarea" else {})},
        }
        for n, t in enumerate(texts)
        for kind in ("rectangle", "labels", "textarea")
    ]
    return {
        "id": 1,
        "data": {"ocr": image, "note": "x"},
        "annotations": [{"result": results, **changes}],
        "predictions": [],
    }


DATA_URI = "data:image/png;base64," + base64.b64encode(png(7)).decode()
NFD = unicodedata.normalize("NFD", "Gebühr.png")
NFC = unicodedata.normalize("NFC", NFD)
TABLE = {"html": {"structure": {"tokens": ["<tr>", "<td>", "</td>", "</tr>"]}, "cells": [{"tokens": ["a", "b"]}]}}


@dataclass(frozen=True)
class Taken:
    """A source that is imported: ``says`` has to be among the notes."""

    id: str
    files: Files
    source: str
    rows: list[Any]
    says: str = ""
    options: Options = Options()


TAKEN = (
    Taken("tesseract", {"a.png": 1, "a.gt.txt": "one", "a.txt": "reading", "b.png": 2, "b.gt.txt": "two"}, ".", plain((1, "one"), (2, "two"))),
    Taken("text-with-the-images-suffix", {"a.png": 1, "a.png.txt": "one"}, ".", plain((1, "one"))),
    Taken("upper-case-text", {"A.PNG": 1, "A.TXT": "one"}, ".", plain((1, "one"))),
    Taken("front-matter", {"a.png": 1, "a.md": "---\ntitle: x\nlang: en\n---\n# Head\n"}, ".", plain((1, "# Head")), "front matter"),
    Taken("a-rule-is-no-front-matter", {"a.png": 1, "a.md": "---\nsome text\n---\nmore"}, ".", plain((1, "---\nsome text\n---\nmore"))),
    Taken("sroie", {"a.png": 1, "a.txt": "1,1,9,1,9,5,1,5,SHOP, NORTH\n1,6,9,6,9,9,1,9,12.40\n"}, ".", plain((1, "SHOP, NORTH\n12.40")), "text column"),
    Taken("icdar-13", {"a.png": 1, "a.txt": '38, 43, 920, 215, "Tired"\n1, 2, 3, 4, "ness"\n'}, ".", plain((1, "Tired\nness"))),
    Taken("icdar-mlt", {"a.png": 1, "a.txt": "1,1,9,1,9,5,1,5,Latin,###\n1,1,9,1,9,5,1,5,Latin,word\n"}, ".", plain((1, "word"))),
    Taken("numbers-are-no-boxes", {"a.png": 1, "a.txt": "1,200\n2,300\n"}, ".", plain((1, "1,200\n2,300"))),
    Taken("utf-16-text", {"a.png": 1, "a.txt": "Größe".encode("utf-16")}, ".", plain((1, "Größe"))),
    Taken("companions", {"a.jpg": 1, "a.txt": "x", "._a.jpg": b"\0\5\x16\7", "._a.txt": b"\0\5", ".DS_Store": b"\0", "Thumbs.db": b"\0", "__MACOSX/a.jpg": 2, "__MACOSX/a.txt": "no"}, ".", plain((1, "x"))),
    Taken("other-types", {"a.png": 1, "a.txt": "x", "b.HEIC": b"h", "b.txt": "y", "c.pdf": b"%PDF-", "c.md": "z"}, ".", plain((1, "x")), ".heic files: heif-convert"),
    Taken("orphans", {"a.png": 1, "a.txt": "x", "b.txt": "y"}, ".", plain((1, "x")), "texts without an image"),
    Taken("jfif", {"a.jfif": 1, "a.txt": "x"}, ".", plain((1, "x"))),
    Taken("rec-gt", {"t/a.png": 1, "rec_gt.txt": "t/a.png\tone\n"}, "rec_gt.txt", plain((1, "one"))),
    Taken("label-beside", {"s/a.png": 1, "s/Label.txt": f"s/a.png\t{boxes('one', '待识别', 'two', '###')}\n"}, "s/Label.txt", plain((1, "one\ntwo")), "2 × boxes that nobody"),
    Taken("untranscribed-page", {"s/a.png": 1, "s/b.png": 2, "s/Label.txt": f"s/a.png\t{boxes('x')}\ns/b.png\t{boxes('TEMPORARY')}\n"}, "s/Label.txt", plain((1, "x")), "pages left out"),
    Taken("label-folder", {"s/a.png": 1, "s/Label.txt": f"s/a.png\t{boxes('x')}\n", "s/fileState.txt": "s/a.png\t1\n"}, "s", plain((1, "x"))),
    Taken("spaced", {"a.png": 1, "list.txt": "a.png one two\n"}, "list.txt", plain((1, "one two"))),
    Taken("utf-16-labels", {"a.png": 1, "l.txt": "a.png\t一盒\n".encode("utf-16")}, "l.txt", plain((1, "一盒"))),
    Taken("named-encoding", {"a.png": 1, "l.txt": "a.png\t绿茶一盒\n".encode("gb18030")}, "l.txt", plain((1, "绿茶一盒")), "", Options(encoding="gb18030")),
    Taken("crlf-and-bom", {"a.png": 1, "l.txt": b"\xef\xbb\xbfa.png\tone\r\n"}, "l.txt", plain((1, "one"))),
    Taken("backslashes", {"rec/a.png": 1, "rec/l.txt": "rec\\a.png\tone\n"}, "rec/l.txt", plain((1, "one")), "backslashes"),
    Taken("drive", {"rec/a.png": 1, "rec/l.txt": "D:\\scans\\rec\\a.png\tone\n"}, "rec/l.txt", plain((1, "one")), "another machine"),
    Taken("home-of-another", {"rec/a.png": 1, "rec/l.txt": "/home/anna/rec/a.png\tone\n"}, "rec/l.txt", plain((1, "one")), "another machine"),
    Taken("normal-form", {NFD: 1, "l.txt": f"{NFC}\tfee\n"}, "l.txt", plain((1, "fee")), "normal form"),
    Taken("letter-case", {"A.PNG": 1, "l.txt": "a.png\tfee\n"}, "l.txt", plain((1, "fee")), "another case"),
    Taken("images-elsewhere", {"pics/a.png": 1, "x/y/l.csv": "image,text\na.png,one\n"}, "x/y/l.csv", plain((1, "one")), "", Options(images=Path("pics"))),
    Taken("easyocr", {"a.jpg": 1, "b.jpg": 2, "labels.csv": 'filename,words\na.jpg,one\nb.jpg,"two, three"\n'}, ".", plain((1, "one"), (2, "two, three"))),
    Taken("csv-semicolons", {"a.png": 1, "l.csv": "\ufeffsep=;\nimage;text\na.png;one, two\n"}, "l.csv", plain((1, "one, two"))),
    Taken("csv-headless", {"a.png": 1, "l.csv": "a.png,one, two\n"}, "l.csv", plain((1, "one, two"))),
    Taken("tsv", {"a.png": 1, "l.tsv": "file_name\ttext\na.png\t007\n"}, "l.tsv", plain((1, "007"))),
    Taken("metadata-jsonl", {"a.png": 1, "metadata.jsonl": lines({"file_name": "a.png", "text": "one"})}, ".", plain((1, "one"))),
    Taken("metadata-in-folders", {"x/a.png": 1, "x/metadata.csv": "file_name,text\na.png,one\n", "y/a.png": 2, "y/metadata.csv": "file_name,text\na.png,two\n"}, ".", plain((1, "one"), (2, "two"))),
    Taken("metadata-parquet", {"a.png": 1, "metadata.parquet": parquet({"file_name": "a.png", "text": "one"})}, ".", plain((1, "one"))),
    Taken("json-array", {"a.png": 1, "l.json": json.dumps([{"image": "a.png", "text": "one"}])}, "l.json", plain((1, "one"))),
    Taken("json-names", {"a.png": 1, "l.json": json.dumps({"a.png": "one"})}, "l.json", plain((1, "one"))),
    Taken("json-wrapped", {"a.png": 1, "l.json": json.dumps({"data": [{"image": "a.png", "text": "one"}]})}, "l.json", plain((1, "one"))),
    Taken("named-columns", {"a.png": 1, "l.csv": "picture,truth\na.png,one\n"}, "l.csv", plain((1, "one")), "", Options(image_column="picture", text_column="truth")),
    Taken("whole-numbers", {"a.png": 1, "l.jsonl": lines({"image": "a.png", "text": 12})}, "l.jsonl", plain((1, "12")), "answers that are numbers"),
    Taken("struct-bytes", {"t.parquet": parquet({"image": {"bytes": png(3), "path": "a.png"}, "text": "x"})}, "t.parquet", plain((3, "x"))),
    Taken("shards", {"data/train-00000-of-00002.parquet": parquet({"image": png(1), "text": "x"}), "data/train-00001-of-00002.parquet": parquet({"image": png(2), "text": "y"})}, ".", plain((1, "x"), (2, "y"))),
    Taken("cache-files", {"data-00000-of-00001.parquet": parquet({"image": png(1), "text": "x"}), "cache-0123.parquet": parquet({"image": png(2), "text": "y"}), "state.json": "{}", "dataset_info.json": "{}"}, ".", plain((1, "x"))),
    Taken("the-split-wanted", {"train-0.parquet": parquet({"image": png(1), "text": "x"}), "test-0.parquet": parquet({"image": png(2), "text": "y"})}, ".", plain((2, "y")), "another split", Options(split="test")),
    Taken("all-splits", {"train/a.png": 1, "train/a.txt": "x", "test/a.png": 2, "test/a.txt": "y"}, ".", plain((2, "y"), (1, "x")), "", Options(split="all")),
    Taken("base64", {"l.jsonl": lines({"image": DATA_URI, "text": "x"})}, "l.jsonl", plain((7, "x"))),
    Taken("bare-base64", {"l.csv": f"image,text\n{DATA_URI.partition(',')[2]},x\n"}, "l.csv", plain((7, "x"))),
    Taken("llava", {"a.png": 1, "l.json": json.dumps([llava("<image>\nOCR:", "x", image="a.png", id="1")])}, "l.json", plain((1, "x"))),
    Taken("llava-without-mark", {"a.png": 1, "l.jsonl": lines(llava("OCR:", "x", image="a.png"))}, "l.jsonl", plain((1, "x"))),
    Taken("sharegpt", {"a.png": 1, "l.jsonl": lines(llava("<image>OCR:", "x", images=["a.png"]))}, "l.jsonl", plain((1, "x"))),
    Taken("swift-2", {"a.png": 1, "l.jsonl": lines({"query": "<image>OCR:", "response": "x", "images": ["a.png"]})}, "l.jsonl", plain((1, "x"))),
    Taken("qwen-inline", {"a.png": 1, "l.jsonl": lines(llava("Picture 1: <img>a.png</img>\nOCR:", "x"))}, "l.jsonl", plain((1, "x"))),
    Taken("system-role", {"a.png": 1, "l.jsonl": lines({"messages": [{"role": "system", "content": "Be good."}, *chat("<image>OCR:", "x")["messages"]], "images": ["a.png"]})}, "l.jsonl", plain((1, "x")), "system messages"),
    Taken("parts", {"a.png": 1, "l.jsonl": lines(chat([{"type": "image"}, {"type": "text", "text": "OCR:"}], [{"type": "text", "text": "x"}], images=["a.png"]))}, "l.jsonl", plain((1, "x"))),
    Taken("parts-with-address", {"a.png": 1, "l.jsonl": lines(chat([{"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "text", "text": "OCR:"}], "x"))}, "l.jsonl", plain((1, "x"))),
    Taken("parts-with-base64", {"l.jsonl": lines(chat([{"type": "image_url", "image_url": {"url": DATA_URI}}, {"type": "text", "text": "OCR:"}], "x"))}, "l.jsonl", plain((7, "x"))),
    Taken("parts-parquet", {"t.parquet": parquet(chat([{"type": "image", "text": None}, {"type": "text", "text": "OCR:"}], [{"type": "text", "text": "x"}], images=[{"bytes": png(4), "path": None}]))}, "t.parquet", plain((4, "x"))),
    Taken("no-prompt", {"a.png": 1, "l.jsonl": lines(chat("<image>", "x", images=["a.png"]))}, "l.jsonl", plain((1, "x"), prompt="Formula Recognition:"), "", Options(task="formula")),
    Taken("marks-in-answers-stay", {"a.png": 1, "l.jsonl": lines(llava("<image>\nOCR:", "an <image> tag", image="a.png"))}, "l.jsonl", plain((1, "an <image> tag"))),
    Taken("cauldron", {"t.parquet": parquet({"images": [{"bytes": png(5), "path": None}], "texts": [{"user": "OCR:", "assistant": "x", "source": "s"}]})}, "t.parquet", plain((5, "x"))),
    Taken("label-studio", {"ls/a b.png": 1, "e.json": json.dumps([task("/data/local-files/?d=ls/a%20b.png", "one", "two")])}, "e.json", plain((1, "one\ntwo")), "Label Studio"),
    Taken("label-studio-upload", {"1f2a-a.png": 1, "e.json": json.dumps([task("/data/upload/3/1f2a-a.png", "one")])}, "e.json", plain((1, "one"))),
    Taken("label-studio-min", {"ls/a b.png": 1, "e.json": json.dumps([{"ocr": "/data/local-files/?d=ls/a%20b.png", "transcription": ["one", "two"], "annotator": 1}])}, "e.json", plain((1, "one\ntwo"))),
    Taken("ours-from-elsewhere", {"img/a.png": 1, "l.jsonl": lines({"image_info": [{"matched_text_index": 0, "image_url": "C:\\x\\img\\a.png"}], "text_info": [{"text": "OCR:", "tag": "mask"}, {"text": "x", "tag": "no_mask"}]})}, "l.jsonl", plain((1, "x"))),
    Taken("webdataset", {"s-000.tar": tar(("1.jpg", png(1, "JPEG")), ("1.txt", b"one"), ("2.png", png(2)), ("2.json", b'{"text": "two"}'))}, "s-000.tar", plain((1, "one"), (2, "two"))),
    Taken("webdataset-gz-shards", {"s-0.tar.gz": tar(("1.png", png(1)), ("1.txt", b"one"), mode="w:gz"), "s-1.tar.gz": tar(("1.png", png(2)), ("1.txt", b"two"), mode="w:gz")}, ".", plain((1, "one"), (2, "two"))),
    Taken("skipped", {"a.png": 1, "b.png": 2, "b.txt": "x"}, ".", plain((2, "x")), "1 × skipped", Options(skip=True)),
)  # fmt: skip


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
    assert not [path for path in target.parent.rglob(".*")], "nothing temporary is left"


@dataclass(frozen=True)
class Refused:
    """A source that is not imported: each of ``says`` stands in the error."""

    id: str
    files: Files
    source: str
    says: tuple[str, ...]
    options: Options = Options()


REFUSED = (
    Refused("gbk", {"a.png": 1, "l.txt": "a.png\t绿茶一盒\n".encode("gbk")}, "l.txt", ("it is not UTF-8; it may be gb18030", "绿茶一盒", "--encoding gb18030")),
    Refused("shift-jis", {"a.png": 1, "l.csv": "image,text\na.png,カタカナ漢字です\n".encode("shift_jis")}, "l.csv", ("it is not UTF-8", "shift_jis ('a.png,カタカナ漢字です')")),
    Refused("gbk-beside", {"a.png": 1, "a.txt": "绿茶一盒".encode("gbk")}, ".", ("a.txt: it is not UTF-8", "--encoding gb18030")),
    Refused("no-such-encoding", {"a.png": 1, "l.txt": "a.png\tx"}, "l.txt", ("no encoding 'gbq'",), Options(encoding="gbq")),
    Refused("yolo", {"a.png": 1, "a.txt": "0 0.512 0.301 0.120 0.080\n2 0.2 0.7 0.3 0.1\n"}, ".", ("holds boxes (YOLO",)),
    Refused("tesseract-box", {"a.png": 1, "a.box": "T 1 2 3 4 0\n"}, ".", ("no text beside it", "a.box is the boxes of characters")),
    Refused("page-xml-beside", {"a.png": 1, "a.xml": "<PcGts/>"}, ".", ("a.xml is the layout of the page",)),
    Refused("state-file", {"s/a.png": 1, "s/fileState.txt": "s/a.png\t1\n"}, "s/fileState.txt", ("which pages PPOCRLabel has done", "Label.txt")),
    Refused("guesses", {"s/a.png": 1, "s/Cache.cach": f"s/a.png\t{boxes('x')}\n"}, "s/Cache.cach", ("guesses that nobody confirmed",)),
    Refused("pages-and-their-crops", {"s/a.png": 1, "s/crop_img/a_crop_0.png": 2, "s/Label.txt": f"s/a.png\t{boxes('x')}\n", "s/rec_gt.txt": "crop_img/a_crop_0.png\tx\n"}, "s", ("several files say what these images are", "Label.txt", "rec_gt.txt")),
    Refused("splits-of-tables", {"train-0.parquet": parquet({"image": png(1), "text": "x"}), "test-0.parquet": parquet({"image": png(2), "text": "y"})}, ".", ("several splits", "--split train", "--split test", "all.test.jsonl")),
    Refused("splits-of-folders", {"train/a.png": 1, "train/a.txt": "x", "test/a.png": 2, "test/a.txt": "y"}, ".", ("several splits", "--split train")),
    Refused("no-such-split", {"train/a.png": 1, "train/a.txt": "x"}, ".", ("no such split", "test; there are: train"), Options(split="test")),
    Refused("missing", {"l.txt": "a.png\tx\n/home/anna/b.png\ty\n"}, "l.txt", ("2 entries", "the image does not exist: a.png", "a path of another machine", "--images FOLDER")),
    Refused("alike-ends", {"a.png": 1, "l.txt": "/x/1/a.png\tone\n/x/2/a.png\ttwo\n"}, "l.txt", ("two paths of another machine end alike",)),
    Refused("outside", {"in/x/l.txt": "../../../secret.png\tx\n", "secret.png": 1}, "in/x/l.txt", ("the image lies outside the folder",)),
    Refused("absolute", {"in/x/l.jsonl": lines({"image": "/etc/hostname", "text": "x"})}, "in/x/l.jsonl", ("path of another machine",)),
    Refused("null", {"a.png": 1, "l.jsonl": lines({"image": "a.png", "text": None})}, "l.jsonl", ("its text is empty (null)", "--skip")),
    Refused("a-fraction", {"a.png": 1, "t.parquet": parquet({"image": png(1), "text": 12.5})}, "t.parquet", ("its text is a number (12.5)",)),
    Refused("null-image", {"t.parquet": parquet({"image": png(1), "text": "x"}, {"image": None, "text": "y"})}, "t.parquet", (":2: no image: its value is null",)),
    Refused("null-images", {"t.parquet": parquet(chat("<image>OCR:", "x", images=None))}, "t.parquet", ("no image: its value is null",)),
    Refused("odd-turns", {"a.png": 1, "l.jsonl": lines({"messages": [*chat("<image>OCR:", "x")["messages"], {"role": "user", "content": "y"}], "images": ["a.png"]})}, "l.jsonl", ("the last prompt has no answer",)),
    Refused("more-marks", {"a.png": 1, "l.jsonl": lines(llava("<image><image>OCR:", "x", image="a.png"))}, "l.jsonl", ("2 <image> marks, 1 images",)),
    Refused("other-columns", {"t.parquet": parquet({"image": png(1), "ground_truth": "x"})}, "t.parquet", ("no column 'text'; there are: image, ground_truth", "--text-column ground_truth")),
    Refused("two-columns", {"a.png": 1, "l.csv": "image,label,text\na.png,one,two\n", "b.csv": ""}, "l.csv", (), Options(text_column="none")),
    Refused("ambiguous", {"a.png": 1, "l.csv": "image,label,words\na.png,one,two\n"}, "l.csv", ("the text may be in words or label", "--text-column")),
    Refused("unquoted-csv", {"a.png": 1, "l.csv": "image,text,page\na.png,one,two,3\n"}, "l.csv", ("4 cells, the first line has 3",)),
    Refused("lfs-table", {"t.parquet": LFS}, "t.parquet", ("git-lfs pointer", "git lfs pull")),
    Refused("lfs-image", {"a.png": LFS, "a.txt": "x"}, ".", ("git-lfs", "git lfs pull")),
    Refused("no-image", {"a.png": "text", "a.txt": "x"}, ".", ("an image is one of PNG",)),
    Refused("broken-base64", {"l.jsonl": lines({"image": "data:image/png;base64,@@@@", "text": "x"})}, "l.jsonl", ("base64 is damaged",)),
    Refused("unfinished-task", {"a.png": 1, "e.json": json.dumps([task("/data/upload/1/a.png", "x", was_cancelled=True)])}, "e.json", ("nobody annotated it",)),
    Refused("two-annotators", {"a.png": 1, "e.json": json.dumps([{**task("/data/upload/1/a.png"), "annotations": [*task("x", "1")["annotations"], *task("x", "2")["annotations"]]}])}, "e.json", ("2 annotations that differ",)),
    Refused("tar-with-a-link", {"s.tar": tar(("1.png", png(1)), ("1.txt", b"x"), ("2.png", png(2)), ("2.txt", None))}, "s.tar", ("is a link or a device",)),
    Refused("tar-that-leaves", {"s.tar": tar(("1.png", png(1)), ("1.txt", b"x"), ("../../2.png", png(2)), ("../../2.txt", b"y"))}, "s.tar", ("leads out of the archive",)),
    Refused("tar-of-a-folder", {"s.tar": tar(("d/1.png", png(1)), ("d/labels.csv", b"image,text\n"))}, "s.tar", ("tar xf",)),
    Refused("torn-tar", {"s.tar": tar(("1.png", png(1)), ("1.txt", b"x"))[:700]}, "s.tar", ("the archive cannot be read",)),
    Refused("zip", {"s.zip": b"PK\3\4"}, "s.zip", ("an archive", "unzip")),
    Refused("pickle", {"s.pkl": b"\x80\4."}, "s.pkl", ("a file of Python objects", "run code")),
    Refused("one-image", {"a.png": 1}, "a.png", ("an image by itself", "name the folder")),
    Refused("heic", {"a.heic": b"x"}, "a.heic", ("does not read", "heif-convert")),
    Refused("pdfs-only", {"a.pdf": b"%PDF-", "a.txt": "x"}, ".", ("nothing to import", "pdftoppm")),
    Refused("lmdb", {"data.mdb": b"\0", "lock.mdb": b"\0"}, ".", ("an LMDB", "image-000000001")),
    Refused("via", {"p.json": json.dumps({"_via_img_metadata": {}})}, "p.json", ("VGG Image Annotator",)),
    Refused("donut", {"a.png": 1, "metadata.jsonl": lines({"file_name": "a.png", "ground_truth": '{"gt_parse": {"total": "1"}}'})}, "metadata.jsonl", ("Donut", "--text-column")),
    Refused("unknown", {"a.dat": "something"}, "a.dat", ("layout is not known", "docs/importing.md", "'something'")),
    Refused("a-link-to-nothing", {}, "gone", ("no such file or folder",)),
    Refused("bad-json", {"a.json": '[{"image": '}, "a.json", ("it is no JSON",)),
)  # fmt: skip


@pytest.mark.parametrize("case", [c for c in REFUSED if c.says], ids=lambda case: case.id)
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
LABELME = {"shapes": [{"label": "two words"}, {"label": "text", "description": "more"}], "imagePath": "a.png"}


@pytest.mark.parametrize(
    ("name", "content", "answer"),
    [
        ("a.xml", ALTO, "two words\nmore"),
        ("a.xml", PAGE, "two words\nmore"),
        ("coco.json", json.dumps(COCO), "two words"),
        ("a.json", json.dumps(LABELME), "two words\nmore"),
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


@pytest.mark.parametrize(
    "change", [lambda old: b"\0" * len(old), lambda old: old + b"\0"], ids=["equal-size", "longer"]
)
def test_a_corrected_image_is_copied_again(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    source = tree(tmp_path / "scans", {"a.bmp": b"", "a.txt": "x", "b.png": 4, "b.txt": "y"})
    Image.new("L", (56, 28), 1).save(source / "a.bmp")
    target = tmp_path / "out" / "all.jsonl"
    import_dataset(source, target, Options())
    kept = next((tmp_path / "out").rglob("b.png")).stat().st_mtime_ns
    before = (source / "a.bmp").stat()
    Image.new("L", (56, 28), 9).save(source / "a.bmp")
    os.utime(source / "a.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
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
