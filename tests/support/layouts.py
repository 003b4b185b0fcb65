"""Small sources as the tools of the trade write them, what is imported of them and what is refused."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from sft.dataset.layouts.base import Options

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


def plain(*pairs: tuple[int, str], prompt: str = "OCR:") -> list[tuple[list[str], list[tuple[str, str]]]]:
    return [([str(shade)], [(prompt, text)]) for shade, text in pairs]


def boxes(*texts: str | None) -> str:
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


PLAIN = Options()


@dataclass(frozen=True)
class Taken:
    """A source that is imported: ``says`` has to be among the notes."""

    id: str
    files: Files
    source: str
    rows: list[Any]
    says: str = ""
    options: Options = PLAIN


TAKEN = (
    Taken(
        "tesseract", {"a.png": 1, "a.gt.txt": "one", "a.txt": "reading", "b.png": 2, "b.gt.txt": "two"}, ".",
        plain((1, "one"), (2, "two"))),
    Taken("text-with-the-images-suffix", {"a.png": 1, "a.png.txt": "one"}, ".", plain((1, "one"))),
    Taken("upper-case-text", {"A.PNG": 1, "A.TXT": "one"}, ".", plain((1, "one"))),
    Taken(
        "front-matter", {"a.png": 1, "a.md": "---\ntitle: x\nlang: en\n---\n# Head\n"}, ".", plain((1, "# Head")),
        "front matter"),
    Taken(
        "a-rule-is-no-front-matter", {"a.png": 1, "a.md": "---\nsome text\n---\nmore"}, ".", plain((1,
        "---\nsome text\n---\nmore"))),
    Taken(
        "sroie", {"a.png": 1, "a.txt": "1,1,9,1,9,5,1,5,SHOP, NORTH\n1,6,9,6,9,9,1,9,12.40\n"}, ".", plain((1,
        "SHOP, NORTH\n12.40")), "text column"),
    Taken(
        "icdar-13", {"a.png": 1, "a.txt": '38, 43, 920, 215, "Tired"\n1, 2, 3, 4, "ness"\n'}, ".", plain((1,
        "Tired\nness"))),
    Taken(
        "icdar-mlt", {"a.png": 1, "a.txt": "1,1,9,1,9,5,1,5,Latin,###\n1,1,9,1,9,5,1,5,Latin,word\n"}, ".", plain((1,
        "word"))),
    Taken("numbers-are-no-boxes", {"a.png": 1, "a.txt": "1,200\n2,300\n"}, ".", plain((1, "1,200\n2,300"))),
    Taken("utf-16-text", {"a.png": 1, "a.txt": "Größe".encode("utf-16")}, ".", plain((1, "Größe"))),
    Taken(
        "companions", {"a.jpg": 1, "a.txt": "x", "._a.jpg": b"\0\5\x16\7", "._a.txt": b"\0\5", ".DS_Store": b"\0",
        "Thumbs.db": b"\0", "__MACOSX/a.jpg": 2, "__MACOSX/a.txt": "no"}, ".", plain((1, "x"))),
    Taken(
        "other-types", {"a.png": 1, "a.txt": "x", "b.HEIC": b"h", "b.txt": "y", "c.pdf": b"%PDF-", "c.md": "z"}, ".",
        plain((1, "x")), ".heic files: heif-convert"),
    Taken("orphans", {"a.png": 1, "a.txt": "x", "b.txt": "y"}, ".", plain((1, "x")), "texts without an image"),
    Taken(
        "an-inventory", {"a.png": 1, "a.txt": "x", "inventory.csv": "file,size\na.png,12\n", "n.json": "{}"}, ".",
        plain((1, "x"))),
    Taken("jfif", {"a.jfif": 1, "a.txt": "x"}, ".", plain((1, "x"))),
    Taken(
        "parallel-folders", {"images/a.png": 1, "labels/a.txt": "one", "labels/README.md": "-"}, ".", plain((1,
        "one"))),
    Taken("icdar-15", {"img_1.png": 1, "gt_img_1.txt": "1,1,9,1,9,5,1,5,one\n"}, ".", plain((1, "one"))),
    Taken(
        "icdar-words", {"word_1.png": 1, "gt.txt": 'word_1.png, "Genaxis Theatre"\n'}, "gt.txt", plain((1,
        "Genaxis Theatre"))),
    Taken(
        "list-of-one-image", {"t.parquet": parquet({"images": [png(6)], "text": "x"})}, "t.parquet", plain((6, "x"))),
    Taken("rec-gt", {"t/a.png": 1, "rec_gt.txt": "t/a.png\tone\n"}, "rec_gt.txt", plain((1, "one"))),
    Taken(
        "label-beside", {"s/a.png": 1, "s/Label.txt": f"s/a.png\t{boxes('one', '待识别', 'two', '###')}\n"},
        "s/Label.txt", plain((1, "one\ntwo")), "2 × boxes that nobody"),
    Taken(
        "untranscribed-page", {"s/a.png": 1, "s/b.png": 2,
        "s/Label.txt": f"s/a.png\t{boxes('x')}\ns/b.png\t{boxes('TEMPORARY')}\n"}, "s/Label.txt", plain((1, "x")),
        "pages left out"),
    Taken(
        "label-folder", {"s/a.png": 1, "s/Label.txt": f"s/a.png\t{boxes('x')}\n", "s/fileState.txt": "s/a.png\t1\n"},
        "s", plain((1, "x"))),
    Taken("spaced", {"a.png": 1, "list.txt": "a.png one two\n"}, "list.txt", plain((1, "one two"))),
    Taken("utf-16-labels", {"a.png": 1, "l.txt": "a.png\t一盒\n".encode("utf-16")}, "l.txt", plain((1, "一盒"))),
    Taken(
        "named-encoding", {"a.png": 1, "l.txt": "a.png\t绿茶一盒\n".encode("gb18030")}, "l.txt", plain((1,
        "绿茶一盒")), "", Options(encoding="gb18030")),
    Taken("crlf-and-bom", {"a.png": 1, "l.txt": b"\xef\xbb\xbfa.png\tone\r\n"}, "l.txt", plain((1, "one"))),
    Taken(
        "backslashes", {"rec/a.png": 1, "rec/l.txt": "rec\\a.png\tone\n"}, "rec/l.txt", plain((1, "one")),
        "backslashes"),
    Taken(
        "drive", {"rec/a.png": 1, "rec/l.txt": "D:\\scans\\rec\\a.png\tone\n"}, "rec/l.txt", plain((1, "one")),
        "another machine"),
    Taken(
        "home-of-another", {"rec/a.png": 1, "rec/l.txt": "/home/anna/rec/a.png\tone\n"}, "rec/l.txt", plain((1,
        "one")), "another machine"),
    Taken("normal-form", {NFD: 1, "l.txt": f"{NFC}\tfee\n"}, "l.txt", plain((1, "fee")), "normal form"),
    Taken("letter-case", {"A.PNG": 1, "l.txt": "a.png\tfee\n"}, "l.txt", plain((1, "fee")), "another case"),
    Taken(
        "images-elsewhere", {"pics/a.png": 1, "x/y/l.csv": "image,text\na.png,one\n"}, "x/y/l.csv", plain((1, "one")),
        "", Options(images=Path("pics"))),
    Taken(
        "easyocr", {"a.jpg": 1, "b.jpg": 2, "labels.csv": 'filename,words\na.jpg,one\nb.jpg,"two, three"\n'}, ".",
        plain((1, "one"), (2, "two, three"))),
    Taken(
        "csv-semicolons", {"a.png": 1, "l.csv": "\ufeffsep=;\nimage;text\na.png;one, two\n"}, "l.csv", plain((1,
        "one, two"))),
    Taken("csv-headless", {"a.png": 1, "l.csv": "a.png,one, two\n"}, "l.csv", plain((1, "one, two"))),
    Taken("tsv", {"a.png": 1, "l.tsv": "file_name\ttext\na.png\t007\n"}, "l.tsv", plain((1, "007"))),
    Taken(
        "metadata-jsonl", {"a.png": 1, "metadata.jsonl": lines({"file_name": "a.png", "text": "one"})}, ".", plain((1,
        "one"))),
    Taken(
        "metadata-in-folders", {"x/a.png": 1, "x/metadata.csv": "file_name,text\na.png,one\n", "y/a.png": 2,
        "y/metadata.csv": "file_name,text\na.png,two\n"}, ".", plain((1, "one"), (2, "two"))),
    Taken(
        "metadata-parquet", {"a.png": 1, "metadata.parquet": parquet({"file_name": "a.png", "text": "one"})}, ".",
        plain((1, "one"))),
    Taken(
        "json-array", {"a.png": 1, "l.json": json.dumps([{"image": "a.png", "text": "one"}])}, "l.json", plain((1,
        "one"))),
    Taken("json-names", {"a.png": 1, "l.json": json.dumps({"a.png": "one"})}, "l.json", plain((1, "one"))),
    Taken(
        "json-wrapped", {"a.png": 1, "l.json": json.dumps({"data": [{"image": "a.png", "text": "one"}]})}, "l.json",
        plain((1, "one"))),
    Taken(
        "named-columns", {"a.png": 1, "l.csv": "picture,truth\na.png,one\n"}, "l.csv", plain((1, "one")), "",
        Options(image_column="picture", text_column="truth")),
    Taken(
        "whole-numbers", {"a.png": 1, "l.jsonl": lines({"image": "a.png", "text": 12})}, "l.jsonl", plain((1, "12")),
        "answers that are numbers"),
    Taken(
        "struct-bytes", {"t.parquet": parquet({"image": {"bytes": png(3), "path": "a.png"}, "text": "x"})},
        "t.parquet", plain((3, "x"))),
    Taken(
        "shards", {"data/train-00000-of-00002.parquet": parquet({"image": png(1), "text": "x"}),
        "data/train-00001-of-00002.parquet": parquet({"image": png(2), "text": "y"})}, ".", plain((1, "x"), (2, "y"))),
    Taken(
        "cache-files", {"data-00000-of-00001.parquet": parquet({"image": png(1), "text": "x"}),
        "cache-0123.parquet": parquet({"image": png(2), "text": "y"}), "state.json": "{}", "dataset_info.json": "{}"},
        ".", plain((1, "x"))),
    Taken(
        "the-split-wanted", {"train-0.parquet": parquet({"image": png(1), "text": "x"}),
        "test-0.parquet": parquet({"image": png(2), "text": "y"})}, ".", plain((2, "y")), "another split",
        Options(split="test")),
    Taken(
        "all-splits", {"train/a.png": 1, "train/a.txt": "x", "test/a.png": 2, "test/a.txt": "y"}, ".", plain((2, "y"),
        (1, "x")), "", Options(split="all")),
    Taken("base64", {"l.jsonl": lines({"image": DATA_URI, "text": "x"})}, "l.jsonl", plain((7, "x"))),
    Taken("bare-base64", {"l.csv": f"image,text\n{DATA_URI.partition(',')[2]},x\n"}, "l.csv", plain((7, "x"))),
    Taken(
        "llava", {"a.png": 1, "l.json": json.dumps([llava("<image>\nOCR:", "x", image="a.png", id="1")])}, "l.json",
        plain((1, "x"))),
    Taken(
        "llava-without-mark", {"a.png": 1, "l.jsonl": lines(llava("OCR:", "x", image="a.png"))}, "l.jsonl", plain((1,
        "x"))),
    Taken(
        "sharegpt", {"a.png": 1, "l.jsonl": lines(llava("<image>OCR:", "x", images=["a.png"]))}, "l.jsonl", plain((1,
        "x"))),
    Taken(
        "swift-2", {"a.png": 1, "l.jsonl": lines({"query": "<image>OCR:", "response": "x", "images": ["a.png"]})},
        "l.jsonl", plain((1, "x"))),
    Taken(
        "qwen-inline", {"a.png": 1, "l.jsonl": lines(llava("Picture 1: <img>a.png</img>\nOCR:", "x"))}, "l.jsonl",
        plain((1, "x"))),
    Taken(
        "system-role", {"a.png": 1, "l.jsonl": lines({"messages": [{"role": "system", "content": "Be good."},
        *chat("<image>OCR:", "x")["messages"]], "images": ["a.png"]})}, "l.jsonl", plain((1, "x")), "system messages"),
    Taken(
        "parts", {"a.png": 1, "l.jsonl": lines(chat([{"type": "image"}, {"type": "text", "text": "OCR:"}],
        [{"type": "text", "text": "x"}], images=["a.png"]))}, "l.jsonl", plain((1, "x"))),
    Taken(
        "parts-with-address", {"a.png": 1, "l.jsonl": lines(chat([{"type": "image_url",
        "image_url": {"url": "a.png"}}, {"type": "text", "text": "OCR:"}], "x"))}, "l.jsonl", plain((1, "x"))),
    Taken(
        "parts-with-base64", {"l.jsonl": lines(chat([{"type": "image_url", "image_url": {"url": DATA_URI}},
        {"type": "text", "text": "OCR:"}], "x"))}, "l.jsonl", plain((7, "x"))),
    Taken(
        "parts-parquet", {"t.parquet": parquet(chat([{"type": "image", "text": None}, {"type": "text",
        "text": "OCR:"}], [{"type": "text", "text": "x"}], images=[{"bytes": png(4), "path": None}]))}, "t.parquet",
        plain((4, "x"))),
    Taken(
        "no-prompt", {"a.png": 1, "l.jsonl": lines(chat("<image>", "x", images=["a.png"]))}, "l.jsonl", plain((1,
        "x"), prompt="Formula Recognition:"), "", Options(task="formula")),
    Taken(
        "cauldron", {"t.parquet": parquet({"images": [{"bytes": png(5), "path": None}], "texts": [{"user": "OCR:",
        "assistant": "x", "source": "s"}]})}, "t.parquet", plain((5, "x"))),
    Taken(
        "label-studio", {"ls/a b.png": 1, "e.json": json.dumps([task("/data/local-files/?d=ls/a%20b.png", "one",
        "two")])}, "e.json", plain((1, "one\ntwo")), "Label Studio"),
    Taken(
        "label-studio-upload", {"1f2a-a.png": 1, "e.json": json.dumps([task("/data/upload/3/1f2a-a.png", "one")])},
        "e.json", plain((1, "one"))),
    Taken(
        "label-studio-min", {"ls/a b.png": 1, "e.json": json.dumps([{"ocr": "/data/local-files/?d=ls/a%20b.png",
        "transcription": ["one", "two"], "annotator": 1}])}, "e.json", plain((1, "one\ntwo"))),
    Taken(
        "ours-from-elsewhere", {"img/a.png": 1, "l.jsonl": lines({"image_info": [{"matched_text_index": 0,
        "image_url": "C:\\x\\img\\a.png"}], "text_info": [{"text": "OCR:", "tag": "mask"}, {"text": "x",
        "tag": "no_mask"}]})}, "l.jsonl", plain((1, "x"))),
    Taken(
        "webdataset", {"s-000.tar": tar(("1.jpg", png(1, "JPEG")), ("1.txt", b"one"), ("2.png", png(2)), ("2.json",
        b'{"text": "two"}'))}, "s-000.tar", plain((1, "one"), (2, "two"))),
    Taken(
        "webdataset-gz-shards", {"s-0.tar.gz": tar(("1.png", png(1)), ("1.txt", b"one"), mode="w:gz"),
        "s-1.tar.gz": tar(("1.png", png(2)), ("1.txt", b"two"), mode="w:gz")}, ".", plain((1, "one"), (2, "two"))),
    Taken(
        "several-images-of-one-text", {"a.png": 1, "b.png": 2, "l.txt": '["a.png", "b.png"]\tone\n'}, "l.txt",
        plain((1, "one"), (2, "one"))),
    Taken("columns-named", {"a.png": 1, "l.txt": "# File Name\tlabel\na.png\tone\n"}, "l.txt", plain((1, "one")),
        "lines that name the columns"),
    Taken(
        "pages-without-boxes", {"s/a.png": 1, "s/b.png": 2, "s/c.png": 3,
        "s/Label.txt": f"s/a.png\t[]\ns/b.png\t{boxes('x')}\ns/c.png\t{boxes(None)}\n"}, "s/Label.txt",
        plain((2, "x")), "2 × pages left out"),
    Taken("brackets-are-text", {"a.png": 1, "l.txt": "a.png\t[]\n"}, "l.txt", plain((1, "[]"))),
    Taken(
        "names-that-differ-in-case", {"d/A.png": 1, "d/A.txt": "big", "d/a.png": 2, "d/a.txt": "small"}, "d",
        plain((1, "big"), (2, "small"))),
    Taken(
        "an-array-named-jsonl", {"a.png": 1, "l.jsonl": json.dumps([{"image": "a.png", "text": "x"}])}, "l.jsonl",
        plain((1, "x"))),
    Taken(
        "an-object-over-several-lines", {"a.png": 1, "l.jsonl": json.dumps({"image": "a.png", "text": "x"}, indent=1)},
        "l.jsonl", plain((1, "x"))),
    Taken(
        "a-column-of-prompts", {"a.png": 1, "l.jsonl": lines({"image": "a.png", "prompt": "Formula Recognition:",
        "answer": "x"})}, "l.jsonl", plain((1, "x"), prompt="Formula Recognition:"), "the column 'prompt'"),
    Taken(
        "a-column-of-tasks", {"a.png": 1, "l.csv": "image,task,text\na.png,formula,x\n"}, "l.csv", plain((1, "x"),
        prompt="Formula Recognition:"), "the column 'task'"),
    Taken("another-task-column", {"a.png": 1, "l.csv": "image,task,text\na.png,7,x\n"}, "l.csv", plain((1, "x"))),
    Taken(
        "alpaca", {"a.png": 1, "l.json": json.dumps([{"instruction": "<image>Read", "input": "the total",
        "output": "x", "images": ["a.png"]}])}, "l.json", plain((1, "x"), prompt="Read\nthe total"),
        "the column 'instruction'"),
    Taken(
        "paligemma", {"a.png": 1, "l.jsonl": lines({"image": "a.png", "prefix": "OCR:", "suffix": "x"})}, "l.jsonl",
        plain((1, "x"))),
    Taken(
        "line-ends", {"a.png": 1, "l.csv": 'image,text\r\na.png,"one\r\ntwo\rthree"\r\n'}, "l.csv", plain((1,
        "one\ntwo\nthree"))),
    Taken(
        "lists-of-texts", {"a.png": 1, "l.jsonl": lines({"image": "a.png", "text": ["one", "two"]})}, "l.jsonl",
        plain((1, "one\ntwo")), "answers that are lists"),
    Taken(
        "label-studio-csv", {"1f2a-a.png": 1, "e.csv": "ocr,id,transcription,annotator,annotation_id\n"
        '/data/upload/3/1f2a-a.png,1,"[""one"",""two""]",1,1\n'}, "e.csv", plain((1, "one\ntwo"))),
    Taken(
        "the-split-by-another-name", {"train-0.parquet": parquet({"image": png(1), "text": "x"}),
        "val-0.parquet": parquet({"image": png(2), "text": "y"})}, ".", plain((2, "y")), "another split",
        Options(split="val")),
    Taken("the-longest-name", {f"{'汉' * 83}.png": 1, f"{'汉' * 83}.txt": "x"}, ".", plain((1, "x"))),
    Taken(
        "a-fenced-table", {"a.png": 1, "l.jsonl": lines({"image": "a.png", "task": "table",
        "text": "```html\n<!DOCTYPE html><table><tr><th>a</th></tr></table>\n```"})}, "l.jsonl", plain((1,
        "<fcel>a<nl>"), prompt="Table Recognition:"), "written as OTSL"),
    Taken("skipped", {"a.png": 1, "b.png": 2, "b.txt": "x"}, ".", plain((2, "x")), "1 × skipped", Options(skip=True)),
)  # fmt: skip


@dataclass(frozen=True)
class Refused:
    """A source that is not imported: each of ``says`` stands in the error."""

    id: str
    files: Files
    source: str
    says: tuple[str, ...]
    options: Options = PLAIN


REFUSED = (
    Refused(
        "broken-boxes", {"s/a.png": 1, "s/Label.txt": f"s/a.png\t{boxes('x')[:-3]}\n"}, "s/Label.txt",
        ("Label.txt:1: its boxes are no JSON",)),
    Refused(
        "two-pages-in-a-line", {"a.png": 1, "l.txt": f"a.png\t{boxes('x')} b.png\t{boxes('y')}\n"}, "l.txt",
        ("l.txt:1: its boxes are no JSON",)),
    Refused(
        "boxes-in-python", {"a.png": 1, "l.txt": "a.png\t[{'transcription': 'x', 'points': []}]\n"}, "l.txt",
        ("l.txt:1: its boxes are no JSON",)),
    Refused(
        "boxes-without-texts", {"a.png": 1, "l.txt": 'a.png\t[{"label": "cell", "points": [[0, 0]]}]\n'}, "l.txt",
        ("l.txt:1: its boxes have no transcription",)),
    Refused(
        "an-open-quote", {"a.png": 1, "b.png": 2, "l.csv": 'image,text\na.png,"one\nb.png,two\n'}, "l.csv",
        ("l.csv:2: it is no CSV", 'write "" for a quote')),
    Refused(
        "windows-western", {"a.png": 1, "l.csv": "image,text\na.png,Größe und Höhe der Tür\n".encode("cp1252")},
        "l.csv", ("cp1252 ('g,Größe und Höhe der Tür')", "--encoding cp1252")),
    Refused(
        "windows-cyrillic", {"a.png": 1, "l.csv": "image,text\na.png,Привет мир\n".encode("cp1251")}, "l.csv",
        ("Привет мир", "--encoding cp1251")),
    Refused(
        "a-folder-below", {"set/images/a.png": 1, "set/labels.txt": "a.png\tx\n"}, "set/labels.txt",
        ("the image does not exist: a.png", "set/images")),
    Refused("a-zip-beside", {"d/a.zip": b"PK\3\4"}, "d", ("nothing to import", "a.zip", "unpack archives")),
    Refused("gif-by-another-name", {"a.png": b"GIF89a", "a.txt": "x"}, ".", ("found a GIF", "convert it")),
    Refused("nothing-in-it", {"a.png": b"", "a.txt": "x"}, ".", ("found an empty file",)),
    Refused("bytes-of-a-pdf", {"t.parquet": parquet({"image": b"%PDF-1.4", "text": "x"})}, "t.parquet", ("a PDF",)),
    Refused(
        "gbk", {"a.png": 1, "l.txt": "a.png\t绿茶一盒\n".encode("gbk")}, "l.txt",
        ("it is not UTF-8; it may be gb18030", "绿茶一盒", "--encoding gb18030")),
    Refused(
        "shift-jis", {"a.png": 1, "l.csv": "image,text\na.png,カタカナ漢字です\n".encode("shift_jis")}, "l.csv",
        ("it is not UTF-8", "shift_jis ('a.png,カタカナ漢字です')")),
    Refused(
        "gbk-beside", {"a.png": 1, "a.txt": "绿茶一盒".encode("gbk")}, ".", ("a.txt: it is not UTF-8",
        "--encoding gb18030")),
    Refused(
        "no-such-encoding", {"a.png": 1, "l.txt": "a.png\tx"}, "l.txt", ("no encoding 'gbq'",),
        Options(encoding="gbq")),
    Refused(
        "yolo", {"a.png": 1, "a.txt": "0 0.512 0.301 0.120 0.080\n2 0.2 0.7 0.3 0.1\n"}, ".", ("holds boxes (YOLO",)),
    Refused(
        "tesseract-box", {"a.png": 1, "a.box": "T 1 2 3 4 0\n"}, ".", ("no text beside it",
        "a.box is the boxes of characters")),
    Refused("page-xml-beside", {"a.png": 1, "a.xml": "<PcGts/>"}, ".", ("a.xml is the layout of the page",)),
    Refused(
        "state-file", {"s/a.png": 1, "s/fileState.txt": "s/a.png\t1\n"}, "s/fileState.txt",
        ("which pages PPOCRLabel has done", "Label.txt")),
    Refused(
        "guesses", {"s/a.png": 1, "s/Cache.cach": f"s/a.png\t{boxes('x')}\n"}, "s/Cache.cach",
        ("guesses that nobody confirmed",)),
    Refused(
        "pages-and-their-crops", {"s/a.png": 1, "s/crop_img/a_crop_0.png": 2,
        "s/Label.txt": f"s/a.png\t{boxes('x')}\n", "s/rec_gt.txt": "crop_img/a_crop_0.png\tx\n"}, "s",
        ("several files say what these images are", "Label.txt", "rec_gt.txt")),
    Refused(
        "splits-of-tables", {"train-0.parquet": parquet({"image": png(1), "text": "x"}),
        "test-0.parquet": parquet({"image": png(2), "text": "y"})}, ".", ("several splits", "--split train",
        "--split test", "all.test.jsonl")),
    Refused(
        "splits-of-folders", {"train/a.png": 1, "train/a.txt": "x", "test/a.png": 2, "test/a.txt": "y"}, ".",
        ("several splits", "--split train")),
    Refused(
        "no-such-split", {"train/a.png": 1, "train/a.txt": "x"}, ".", ("no such split", "test; there are: train"),
        Options(split="test")),
    Refused(
        "missing", {"l.txt": "a.png\tx\n/home/anna/b.png\ty\n"}, "l.txt", ("2 entries",
        "the image does not exist: a.png", "a path of another machine", "--images FOLDER")),
    Refused(
        "alike-ends", {"a.png": 1, "l.txt": "/x/1/a.png\tone\n/x/2/a.png\ttwo\n"}, "l.txt",
        ("two paths of another machine end alike",)),
    Refused(
        "outside", {"in/x/l.txt": "../../../secret.png\tx\n", "secret.png": 1}, "in/x/l.txt",
        ("the image lies outside the folder",)),
    Refused(
        "absolute", {"in/x/l.jsonl": lines({"image": "/etc/hostname", "text": "x"})}, "in/x/l.jsonl",
        ("path of another machine",)),
    Refused(
        "null", {"a.png": 1, "l.jsonl": lines({"image": "a.png", "text": None})}, "l.jsonl",
        ("its text is empty (null)", "--skip")),
    Refused(
        "a-fraction", {"a.png": 1, "t.parquet": parquet({"image": png(1), "text": 12.5})}, "t.parquet",
        ("its text is a number (12.5)",)),
    Refused(
        "null-image", {"t.parquet": parquet({"image": png(1), "text": "x"}, {"image": None, "text": "y"})},
        "t.parquet", (":2: no image: its value is null",)),
    Refused(
        "null-images", {"t.parquet": parquet(chat("<image>OCR:", "x", images=None))}, "t.parquet",
        ("no image: its value is null",)),
    Refused(
        "odd-turns", {"a.png": 1, "l.jsonl": lines({"messages": [*chat("<image>OCR:", "x")["messages"],
        {"role": "user", "content": "y"}], "images": ["a.png"]})}, "l.jsonl", ("the last prompt has no answer",)),
    Refused(
        "a-mark-in-an-answer",
        {"a.png": 1, "l.jsonl": lines(llava("<image>OCR:", "an <image> tag", image="a.png"))}, "l.jsonl",
        ("texts have no <image>", "answer 1", "write it otherwise")),
    Refused(
        "more-marks", {"a.png": 1, "l.jsonl": lines(llava("<image><image>OCR:", "x", image="a.png"))}, "l.jsonl",
        ("2 <image> marks, 1 images",)),
    Refused(
        "other-columns", {"t.parquet": parquet({"image": png(1), "ground_truth": "x"})}, "t.parquet",
        ("no column 'text'; there are: image, ground_truth", "--text-column ground_truth")),
    Refused(
        "ambiguous", {"a.png": 1, "l.csv": "image,label,words\na.png,one,two\n"}, "l.csv",
        ("the text may be in words or label", "--text-column")),
    Refused(
        "unquoted-csv", {"a.png": 1, "l.csv": "image,text,page\na.png,one,two,3\n"}, "l.csv",
        ("4 cells, the first line has 3",)),
    Refused("lfs-table", {"t.parquet": LFS}, "t.parquet", ("git-lfs pointer", "git lfs pull")),
    Refused("lfs-image", {"a.png": LFS, "a.txt": "x"}, ".", ("git-lfs", "git lfs pull")),
    Refused("no-image", {"a.png": "text", "a.txt": "x"}, ".", ("an image is one of PNG",)),
    Refused(
        "broken-base64", {"l.jsonl": lines({"image": "data:image/png;base64,@@@@", "text": "x"})}, "l.jsonl",
        ("base64 is damaged",)),
    Refused(
        "unfinished-task", {"a.png": 1, "e.json": json.dumps([task("/data/upload/1/a.png", "x",
        was_cancelled=True)])}, "e.json", ("nobody annotated it",)),
    Refused(
        "two-annotators", {"a.png": 1, "e.json": json.dumps([{**task("/data/upload/1/a.png"),
        "annotations": [*task("x", "1")["annotations"], *task("x", "2")["annotations"]]}])}, "e.json",
        ("2 annotations that differ",)),
    Refused(
        "tar-with-a-link", {"s.tar": tar(("1.png", png(1)), ("1.txt", b"x"), ("2.png", png(2)), ("2.txt", None))},
        "s.tar", ("is a link or a device",)),
    Refused(
        "tar-that-leaves", {"s.tar": tar(("1.png", png(1)), ("1.txt", b"x"), ("../../2.png", png(2)), ("../../2.txt",
        b"y"))}, "s.tar", ("leads out of the archive",)),
    Refused(
        "tar-of-a-folder", {"s.tar": tar(("d/1.png", png(1)), ("d/labels.csv", b"image,text\n"))}, "s.tar", ("tar xf",
        )),
    Refused(
        "torn-tar", {"s.tar": tar(("1.png", png(1)), ("1.txt", b"x"))[:700]}, "s.tar", ("the archive cannot be read",)),
    Refused("zip", {"s.zip": b"PK\3\4"}, "s.zip", ("an archive", "unzip")),
    Refused("pickle", {"s.pkl": b"\x80\4."}, "s.pkl", ("a file of Python objects", "run code")),
    Refused("one-image", {"a.png": 1}, "a.png", ("an image by itself", "name the folder")),
    Refused("heic", {"a.heic": b"x"}, "a.heic", ("does not read", "heif-convert")),
    Refused("pdfs-only", {"a.pdf": b"%PDF-", "a.txt": "x"}, ".", ("nothing to import", "pdftoppm")),
    Refused("lmdb", {"data.mdb": b"\0", "lock.mdb": b"\0"}, ".", ("an LMDB", "image-000000001")),
    Refused("via", {"p.json": json.dumps({"_via_img_metadata": {}})}, "p.json", ("VGG Image Annotator",)),
    Refused(
        "donut", {"a.png": 1, "metadata.jsonl": lines({"file_name": "a.png",
        "ground_truth": '{"gt_parse": {"total": "1"}}'})}, "metadata.jsonl", ("Donut", "--text-column")),
    Refused("unknown", {"a.dat": "something"}, "a.dat", ("layout is not known", "docs/importing.md", "'something'")),
    Refused("a-link-to-nothing", {}, "gone", ("no such file or folder",)),
    Refused(
        "gbk-jsonl", {"l.jsonl": '{"image": "a.png", "text": "绿茶一盒"}\n'.encode("gbk")}, "l.jsonl", ("gb18030",
        "绿茶一盒")),
    Refused(
        "unknown-columns", {"l.jsonl": lines({"pic": "a.png", "sentence": "x"})}, "l.jsonl",
        ("no column 'image'; there are: pic, sentence",)),
    Refused("bad-json", {"a.json": '[{"image": '}, "a.json", ("it is no JSON",)),
)  # fmt: skip
