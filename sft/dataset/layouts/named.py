"""Layouts and files that are not imported: what they are, and the way from them to something that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from sft.dataset.layouts.base import HEAD, Layout, Source

_BY_PILLOW = "python -c \"from PIL import Image; Image.open('A{suffix}').convert('RGB').save('A.png')\" makes one a PNG"
# Image types that the model's processor does not read, and how each becomes one that it does.
OTHER_IMAGES = {
    ".heic": "heif-convert A.heic A.jpg (package libheif-examples) makes one a JPEG",
    ".heif": "heif-convert A.heif A.jpg (package libheif-examples) makes one a JPEG",
    ".pdf": "pdftoppm -r 150 -png A.pdf A makes one a PNG a page, A-1.png; write A-1.txt beside it",
    ".djvu": "ddjvu -format=tiff A.djvu A.tif makes one TIFF pages",
    ".svg": "rsvg-convert A.svg -o A.png makes one a PNG",
    ".psd": "magick 'A.psd[0]' A.png makes one a PNG",
    ".dng": "magick A.dng A.png makes one a PNG",
    **{
        s: _BY_PILLOW.format(suffix=s)
        for s in (".gif", ".jp2", ".j2k", ".avif", ".tga", ".ppm", ".pgm", ".pbm", ".ico")
    },
}
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".npy", ".npz", ".joblib")
_ARCHIVES = (".zip", ".7z", ".rar")
_OFFICE = (".xlsx", ".xls", ".ods", ".docx", ".doc")


def _suffix(endings: Iterable[str]) -> Callable[[Source], bool]:
    wanted = tuple(endings)
    return lambda source: source.path.is_file() and source.path.name.lower().endswith(wanted)


def _holds(*words: bytes) -> Callable[[Source], bool]:
    """XML that has one of the words near its start."""
    return lambda source: (
        source.head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"<") and any(word in source.head[:HEAD] for word in words)
    )


def _keys(*wanted: set[str]) -> Callable[[Source], bool]:
    """A JSON object with all keys of one of the sets."""
    return lambda source: (
        source.name.endswith((".json", ".jsonl")) and any(keys <= source.record.keys() for keys in wanted)
    )


def _is_via(source: Source) -> bool:
    if not source.name.endswith(".json"):
        return False
    if "_via_img_metadata" in source.record:
        return True
    return bool(source.record) and all(
        isinstance(value, dict) and "regions" in value for value in source.record.values()
    )


def _is_donut(source: Source) -> bool:
    truth = source.record.get("ground_truth")
    if not isinstance(truth, str) or "text" in source.record or source.options.text_column:
        return False
    try:
        return "gt_parse" in json.loads(truth) or "gt_parses" in json.loads(truth)
    except (ValueError, TypeError):
        return False


def _is_lmdb(source: Source) -> bool:
    folder = source.path if source.path.is_dir() else source.path.parent
    return (folder / "data.mdb").is_file() and (source.path.is_dir() or source.path.name.endswith(".mdb"))


def _is_own_image(source: Source) -> bool:
    from sft.dataset.layouts.base import SUFFIXES

    return source.path.is_file() and source.path.suffix.lower() in SUFFIXES


def _pages(source: Source) -> bool:
    return source.path.is_file() and source.path.suffix.lower() in OTHER_IMAGES


def way_of(path: Path) -> str:
    """How an image of another type becomes one that is taken."""
    return OTHER_IMAGES.get(path.suffix.lower(), "")


_NAME_AND_TEXT = "write image<TAB>text, a line each, into labels.txt, and import that"
NAMED = (
    Layout("an image by itself", "`.png`, `.jpg`, …", _is_own_image, None, "name the folder that it lies in"),
    Layout(
        "an image or a document of a type that the model does not read",
        "HEIC, PDF, DjVu, SVG, GIF, JPEG 2000, AVIF",
        _pages,
        None,
        "{way}",
    ),
    Layout("page layout in ALTO XML", "XML with `<alto`", _holds(b"<alto", b":alto"), None,
           "python -c \"import sys,xml.etree.ElementTree as E; [print(*[s.get('CONTENT') for s in l if s.get('CONTENT')])"
           " for l in E.parse('{path}').iter() if l.tag.endswith('TextLine')]\" > {stem}.txt, beside the image of its"
           " name; then import the folder"),
    Layout("page layout in PAGE XML", "XML with `<PcGts`", _holds(b"<PcGts", b":PcGts"), None,
           "python -c \"import xml.etree.ElementTree as E; [print(t.text or '') for l in E.parse('{path}').iter() if"
           " l.tag.endswith('}}TextLine') for e in l if e.tag.endswith('TextEquiv') for t in e if"
           " t.tag.endswith('Unicode')]\" > {stem}.txt, beside the image of its name; then import the folder"),
    Layout("hOCR", "HTML with `ocr_page`", _holds(b"ocr_page", b"ocr_line"), None,
           "hocr-lines {path} > {stem}.txt (package hocr-tools), beside the image of its name; then import the folder"),
    Layout("boxes in VOC XML (CVAT, LabelImg)", "XML with `<annotation>`", _holds(b"<annotation"), None,
           f"export PaddleOCR or CSV from the tool, or {_NAME_AND_TEXT}"),
    Layout("COCO or COCO-Text annotations", "`images` and `annotations`, or `imgs` and `anns`",
           _keys({"images", "annotations"}, {"imgs", "anns"}), None,
           "two lines: d = json.load(open('{path}')); names = {{i['id']: i['file_name'] for i in d['images']}} — then one "
           "line image<TAB>text for each d['annotations'] with its 'utf8_string' or 'caption'; import that file"),
    Layout("a project of the VGG Image Annotator", "`_via_img_metadata`, or `regions` of each image", _is_via, None,
           f"export its annotations as CSV, or {_NAME_AND_TEXT}"),
    Layout("an annotation of LabelMe", "`shapes` and `imagePath`", _keys({"shapes", "imagePath"}), None,
           "write '\\n'.join(s['description'] or s['label'] for s in json.load(open('{path}'))['shapes']) to a .txt beside "
           "the image, and import the folder"),
    Layout("a dataset of Donut", "`ground_truth` with `gt_parse`", _is_donut, None,
           "its truth is a form's fields, not the text as it stands in the image: choose what is to be read, and write it "
           "as text; where gt_parse has text_sequence: --text-column after writing that into a column of its own"),
    Layout("an LMDB of a text recogniser", "a folder with `data.mdb`", _is_lmdb, None,
           "with lmdb.open('{path}').begin() as t: its keys are image-000000001 and label-000000001: write the one as "
           "1.jpg, the other as 1.txt, and import that folder"),
    Layout("a file of Python objects", "pickle, PyTorch and NumPy files", _suffix(_PICKLES), None,
           "such files can run code when they are opened, so that they are never read here: where you trust it, write "
           "images and texts into a folder yourself"),
    Layout("an archive", "`.zip`, `.7z`, `.rar`", _suffix(_ARCHIVES), None,
           "unzip {path} -d {stem}, then: sft import {stem} FILE.jsonl"),
    Layout("a document of an office program", "Excel, Word, LibreOffice", _suffix(_OFFICE), None,
           "save the sheet as CSV (UTF-8) with the columns image and text, and import that"),
)  # fmt: skip
