"""Layouts and files that are not imported: what they are, and the way from them to something that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from sft.dataset.layouts.base import HEAD, SUFFIXES, Layout, Source
from sft.dataset.layouts.records import first

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
ARCHIVES = (".zip", ".tar.zst", ".7z", ".rar")
OFFICE = (".xlsx", ".xls", ".ods", ".docx", ".doc")


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
        source.name.endswith((".json", ".jsonl")) and any(keys <= first(source).keys() for keys in wanted)
    )


def _is_via(source: Source) -> bool:
    if not source.name.endswith(".json"):
        return False
    if "_via_img_metadata" in first(source):
        return True
    return bool(first(source)) and all(
        isinstance(value, dict) and "regions" in value for value in first(source).values()
    )


def _is_donut(source: Source) -> bool:
    truth = first(source).get("ground_truth")
    if not isinstance(truth, str) or "text" in first(source) or source.options.text_column:
        return False
    try:
        return "gt_parse" in json.loads(truth) or "gt_parses" in json.loads(truth)
    except (ValueError, TypeError):
        return False


def _is_lmdb(source: Source) -> bool:
    folder = source.path if source.path.is_dir() else source.path.parent
    return (folder / "data.mdb").is_file() and (source.path.is_dir() or source.path.name.endswith(".mdb"))


def _is_own_image(source: Source) -> bool:
    return source.path.is_file() and source.path.suffix.lower() in SUFFIXES


def _pages(source: Source) -> bool:
    return source.path.is_file() and source.path.suffix.lower() in OTHER_IMAGES


def way_of(path: Path) -> str:
    """How an image of another type becomes one that is taken."""
    return OTHER_IMAGES.get(path.suffix.lower(), "")


_LIST = "write image<TAB>text, a line each, into labels.txt, and import that"
_BESIDE = " > {stem}.txt, beside the image of that name; then import the folder"
_XML = "python -c \"import xml.etree.ElementTree as E; t = list(E.parse('{path}').iter()); "
_ALTO = "[print(*[s.get('CONTENT') for s in l if s.get('CONTENT')]) for l in t if l.tag.endswith('TextLine')]\""
_PAGE = (
    "[print(u.text or '') for l in t if l.tag.endswith('TextLine') for e in l if e.tag.endswith('TextEquiv')"
    " for u in e if u.tag.endswith('Unicode')]\""
)
_COCO = (
    "python -c \"import json; d = json.load(open('{path}')); n = {{i['id']: i['file_name'] for i in d['images']}}; "
    "[print(n[a['image_id']], a.get('utf8_string') or a.get('caption') or '###', sep=chr(9))"
    " for a in d['annotations']]\" > {folder}/labels.txt, where each annotation is all that its image says; then: "
    "sft import {folder}/labels.txt FILE.jsonl"
)
_LABELME = (
    "python -c \"import json; d = json.load(open('{path}')); "
    "[print(s.get('description') or s['label']) for s in d['shapes']]\""
)
_FUNSD = (
    "python -c \"import json; d = json.load(open('{path}')); "
    "[print(b['text']) for b in d.get('form') or d['documents'][0]['document']]\""
)
NAMED = (
    Layout("an image by itself", "`.png`, `.jpg`, …", _is_own_image, None, "name the folder that it lies in"),
    Layout(
        "an image or a document of a type that the model does not read",
        "HEIC, PDF, DjVu, SVG, GIF, JPEG 2000, AVIF, …; beside other images they are left out, and counted",
        _pages,
        None,
        "{way}; then import the folder",
    ),
    Layout("page layout in ALTO XML", "XML with `<alto`", _holds(b"<alto", b":alto"), None, _XML + _ALTO + _BESIDE),
    Layout("page layout in PAGE XML", "XML with `<PcGts`", _holds(b"<PcGts", b":PcGts"), None, _XML + _PAGE + _BESIDE),
    Layout(
        "a page in hOCR",
        "HTML with `ocr_page`",
        _holds(b"ocr_page", b"ocr_line"),
        None,
        "hocr-lines {path} (package hocr-tools)" + _BESIDE,
    ),
    Layout(
        "boxes in VOC XML (CVAT, LabelImg)",
        "XML with `<annotation>`",
        _holds(b"<annotation"),
        None,
        f"export texts from the tool, or {_LIST}",
    ),
    Layout(
        "annotations of COCO or COCO-Text",
        "JSON with `images` and `annotations`, or `imgs` and `anns`",
        _keys({"images", "annotations"}, {"imgs", "anns"}),
        None,
        _COCO,
    ),
    Layout(
        "a project of the VGG Image Annotator",
        "JSON with `_via_img_metadata`, or `regions` of each image",
        _is_via,
        None,
        f"export its annotations as CSV, or {_LIST}",
    ),
    Layout(
        "an annotation of FUNSD or XFUND",
        "JSON with `form`, or with `documents` and `lang`",
        _keys({"form"}, {"documents", "lang"}),
        None,
        _FUNSD + _BESIDE,
    ),
    Layout(
        "an annotation of LabelMe",
        "JSON with `shapes` and `imagePath`",
        _keys({"shapes", "imagePath"}),
        None,
        _LABELME + _BESIDE,
    ),
    Layout(
        "a dataset of Donut",
        "`ground_truth` with `gt_parse`",
        _is_donut,
        None,
        "its truth is a form's fields, not the text as it stands in the image: write what is to be read into a column "
        "of its own, and import that with --text-column",
    ),
    Layout(
        "an LMDB of a text recogniser",
        "a folder with `data.mdb`",
        _is_lmdb,
        None,
        "write each image-000000001 of it as 1.jpg and each label-000000001 as 1.txt (package lmdb), and import that",
    ),
    Layout(
        "a file of Python objects",
        "pickle, PyTorch and NumPy files",
        _suffix(_PICKLES),
        None,
        "such files run code when they are opened, so that none is read here: write images and texts into a folder "
        "where you trust it",
    ),
    Layout(
        "an archive",
        "`.zip`, `.7z`, `.rar`, `.tar.zst`",
        _suffix(ARCHIVES),
        None,
        "unpack it (unzip {path} -d {stem}, or tar, 7z, unrar), then: sft import {stem} FILE.jsonl",
    ),
    Layout(
        "a document of an office program",
        "Excel, Word, LibreOffice",
        _suffix(OFFICE),
        None,
        "save the sheet as CSV (UTF-8) with the columns image and text, and import that",
    ),
)
