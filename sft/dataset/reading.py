"""Reading the rows of a dataset file that has been validated."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path

from sft.addresses import TOOLS, shown
from sft.dataset import rows
from sft.dataset.encodings import UnknownEncoding, decoded
from sft.dataset.lines import LFS, numbered
from sft.errors import DatasetError


def read_samples(path: Path, form: rows.Format) -> Iterator[rows.Sample]:
    """The rows, in order.

    Raises:
        DatasetError: a row is broken after all.
    """
    for number, line in numbered(path):
        sample = rows.decode(line, form)
        if sample is None:
            said = "the row is broken, or changed after it was validated"
            raise DatasetError(said, where=f"{path}:{number}", remedy=f"sft validate {path} says what is wrong")
        yield sample


def image_folder(path: Path) -> Path:
    """Where the paths in a dataset file start: the folder of its name, also where the file is a link (DVC, the Hub's
    cache), because there its images have the names that the rows use.
    """
    return path.parent.resolve()


def link_text(content: bytes, folder: str) -> str:
    """The path of an existing file, where that is all of ``content``; else an empty text.

    Git without ``core.symlinks``, some archives and uploads turn a link into a file that holds its target.
    """
    text = content.decode("utf-8", "replace").strip()
    if not 0 < len(text) < 1024 or "\n" in text or "\0" in text:
        return ""
    return text if os.path.isfile(os.path.join(folder, text)) else ""


def refuse_address(path: Path) -> None:
    """Raises DatasetError if a path is an address (of whose slashes paths keep one)."""
    scheme, address, _ = str(path).partition(":/")
    if address and scheme.isalnum() and not path.exists():
        remedy = f"copy it here first ({TOOLS.get(scheme, 'curl -LO')}), with its images"
        where = shown(str(path).replace(":/", "://", 1))
        raise DatasetError("it is an address, not a file", where=where, remedy=remedy)


def first_line(path: Path) -> bytes:
    """The first line that is not blank.

    Raises:
        DatasetError: the file is missing or empty.
    """
    if path.is_dir():
        remedy = f"name a .jsonl file; sft import {path} FILE.jsonl makes one of images with texts beside them"
        raise DatasetError("it is a folder, not a dataset file", where=str(path), remedy=remedy)
    refuse_address(path)
    if not path.is_file():
        raise DatasetError("the dataset file does not exist", where=str(path), remedy="correct the path")
    first = next((line for _, line in numbered(path)), None)
    if first is None:
        raise DatasetError("the dataset file is empty", where=str(path), remedy="write one JSON object per line")
    if target := link_text(first, str(path.parent)):
        remedy = f"copy it with what its links lead to (cp -rL), or name {target}"
        raise DatasetError("the file is the text of a copied link", where=str(path), value=target, remedy=remedy)
    return first


def detect_file(path: Path) -> rows.Format:
    """The format of a file, by its first row.

    Raises:
        DatasetError: the file is missing or empty, or in a layout that has to be imported first.
    """
    line = first_line(path)
    if line.startswith(LFS):
        remedy = "git lfs pull in the clone of the dataset"
        raise DatasetError("it is a git-lfs pointer, not the file itself", where=str(path), remedy=remedy)
    found = rows.detect(line)
    if found is None or rows.decode(line, found) is None:
        _refuse_foreign(path)
        _refuse_others(path, line)
    return found or "erniekit"


def _refuse_others(path: Path, line: bytes) -> None:
    """Raises DatasetError if the file is no JSON Lines in UTF-8, so that nothing could be said of its rows."""
    remedy = f"sft import {path} {path.with_name(path.name.partition('.')[0] + '.imported.jsonl')}"
    if line.strip() == b"{" or line.lstrip().startswith(b"["):
        said = "it is JSON over several lines, or an array, not one object in each line"
        raise DatasetError(said, where=str(path), remedy=remedy)
    try:
        line.decode()
    except UnicodeDecodeError:
        if line[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DatasetError("it is in UTF-16, not UTF-8", where=str(path), remedy=remedy) from None
        try:
            decoded(line)
        except UnknownEncoding as error:
            said, _, option = str(error).partition(": name the right one, such as ")
            raise DatasetError(said, where=str(path), remedy=f"{remedy} {option}") from None


def _refuse_foreign(path: Path) -> None:
    """Raises DatasetError if the file is laid out in a way that ``sft import`` knows, and that is not ours."""
    from sft.dataset.layouts import Source, foreign

    if said := foreign(Source(path)):
        name, remedy = said
        raise DatasetError(f"this is {name}, not a dataset file", where=str(path), remedy=remedy)
