"""A folder of images with a text of the same name beside each: .md, .txt, Tesseract's .gt.txt, ICDAR's boxes."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sft.dataset.encodings import UnknownEncoding, decoded
from sft.dataset.layouts.base import SUFFIXES, Entry, Found, Layout, Note, Picture, Problem, Source, Unusable
from sft.dataset.layouts.named import ARCHIVES, OFFICE, OTHER_IMAGES
from sft.dataset.layouts.walking import Folder, walk

TEXTS = (".gt.txt", ".md", ".txt")  # the first that exists counts; .gt.txt beside .txt: the latter is a reading
PARALLEL = ("labels", "label", "texts", "text", "txt", "gt", "gts", "ground_truth", "transcriptions", "captions")
MAX_TEXT = 16 << 20  # bytes
COORDINATES = "texts that held boxes with their text: the text column was taken"
FRONT_MATTER = "texts that began with front matter (--- … ---), which was left out"
ORPHANS = "texts without an image of their name"
_ICDAR = re.compile(r"^\s*(?:-?\d+(?:\.\d+)?\s*,\s*){7}-?\d+(?:\.\d+)?\s*,(.*)$|^\s*(?:\d+\s*,\s*){3}\d+\s*,(.*)$")
_SCRIPT = re.compile(
    r"^(?:Latin|Arabic|Chinese|Japanese|Korean|Bangla|Bengali|Hindi|Devanagari|Symbols|Mixed|None|English),(.*)$", re.I
)
_NUMBER = r"-?\d*\.?\d+(?:[eE]-?\d+)?"
_YOLO = re.compile(rf"^\d{{1,4}}(?:\s+{_NUMBER}){{4,}}$")
_CHARACTER_BOX = re.compile(r"^\S+ \d+ \d+ \d+ \d+ \d+$")
_WORDSTR = re.compile(r"^WordStr \d+ \d+ \d+ \d+ \d+ #(.*)$")
_MATTER = re.compile(r"\A---[ \t]*\n((?:[\w-]+[ \t]*:.*\n|[ \t]+.*\n|- .*\n|#.*\n|\n){1,60}?)---[ \t]*(?:\n|\Z)")


def recognise(source: Source) -> bool:
    """Any folder: what else a folder can be is asked first."""
    return source.path.is_dir()


def read(source: Source) -> Iterator[Entry]:
    """Each image with the text beside it, or in a folder of texts beside its own."""
    used: set[Path] = set()
    texts: list[Path] = []
    listed: dict[Path, dict[str, str]] = {}
    for folder in walk(source.path):
        if isinstance(folder, Note):
            yield folder
            continue
        texts += [folder.path / name for name in folder.files if _is_text(name)]
        yield from _folder(folder, source.options.encoding, used, listed)
    yield from (Note(ORPHANS, str(path)) for path in texts if path not in used)


def _is_text(name: str) -> bool:
    return name.lower().endswith(TEXTS) and not name.lower().startswith(("readme", "license"))


def _folder(folder: Folder, encoding: str, used: set[Path], listed: dict[Path, dict[str, str]]) -> Iterator[Entry]:
    for name in folder.files:
        path = folder.path / name
        if path.suffix.lower() in OTHER_IMAGES:
            used |= set(_texts(path, folder.path, listed))
            yield Note(f"{path.suffix.lower()} files: {OTHER_IMAGES[path.suffix.lower()]}", str(path))
        if name.lower().endswith((*ARCHIVES, *OFFICE)):
            yield Note("files that are not opened: unpack archives, save sheets as CSV", str(path))
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        texts = _texts(path, folder.path, listed) or _in_parallel(path, listed)
        used |= set(texts)
        if not texts:
            yield Problem(str(path), _without(path, _names(folder.path, listed)))
            continue
        try:
            yield from _pair(path, texts[0], encoding)
        except Unusable as error:
            yield Problem(str(path), str(error))


def _texts(image: Path, folder: Path, listed: dict[Path, dict[str, str]]) -> list[Path]:
    """The texts of an image in a folder, the one that counts first: of its name, with its suffix, or as ICDAR's gt_."""
    names = _names(folder, listed)
    wanted = [stem + suffix for stem in (image.stem, image.name, f"gt_{image.stem}") for suffix in TEXTS]
    folded = names.get(image.name.lower(), image.name) == image.name  # else that is another image's text
    found = [names.get(name) or (names.get(name.lower(), "") if folded else "") for name in wanted]
    return [folder / name for name in dict.fromkeys(found) if name]


def _names(folder: Path, listed: dict[Path, dict[str, str]]) -> dict[str, str]:
    """The names in a folder by themselves, and by their lower case where only one has it; listed once."""
    if folder not in listed:
        names = os.listdir(folder) if folder.is_dir() else []
        alike = Counter(map(str.lower, names))
        listed[folder] = {name.lower(): name for name in names if alike[name.lower()] == 1} | {n: n for n in names}
    return listed[folder]


def _in_parallel(image: Path, listed: dict[Path, dict[str, str]]) -> list[Path]:
    """Its texts in a folder beside its own (images/a.png, labels/a.txt), where there is one such folder only."""
    parent = image.parent.parent
    names = _names(parent, listed)
    found = [texts for name in PARALLEL if name in names and (texts := _texts(image, parent / names[name], listed))]
    return found[0] if len(found) == 1 else []


def _without(image: Path, names: dict[str, str]) -> str:
    """What is missing beside an image, and what lies there instead."""
    said = f"no text beside it: {image.stem}.md or {image.stem}.txt or {image.stem}.gt.txt"
    for suffix, what in (
        (".xml", "layout of the page (ALTO, PAGE or VOC XML): write its lines into a .txt"),
        (".json", "annotation of a tool (LabelMe, …): write its text into a .txt"),
        (".box", "boxes of characters (Tesseract): write the line's text into a .gt.txt"),
        (".hocr", "hOCR: write its text into a .txt"),
    ):
        if image.stem.lower() + suffix in names:
            return f"{said}; {names[image.stem.lower() + suffix]} is the {what}"
    return said


def _pair(image: Path, text: Path, encoding: str) -> Iterator[Entry]:
    if text.stat().st_size > MAX_TEXT:
        raise Unusable(f"its text is larger than {MAX_TEXT >> 20} MiB: {text.name}")
    try:
        content = decoded(text.read_bytes(), encoding).replace("\r\n", "\n").strip("\ufeff\n\r\t ")
    except UnknownEncoding as error:
        raise Unusable(f"{text.name}: {error}") from error
    answer, notes = plain_text(content, text.name)
    yield Found(str(image), (Picture(os.path.abspath(image)),), (("", answer),), notes)


def plain_text(content: str, name: str) -> tuple[str, tuple[str, ...]]:
    """(the text that is to be read, what was left out of the file) of a text beside an image.

    Raises:
        Unusable: it holds boxes and no text.
    """
    if matter := _MATTER.match(content):
        return content[matter.end() :].strip(), (FRONT_MATTER,)
    lines = [line for line in content.split("\n") if line.strip()]
    if not lines:
        return content, ()
    if all(_YOLO.match(line) for line in lines) and any("." in line for line in lines):
        raise Unusable(f"{name} holds boxes (YOLO: class, x, y, width, height), not its text")
    if len(lines) > 1 and all(_CHARACTER_BOX.match(line) for line in lines):
        raise Unusable(f"{name} holds boxes of characters (Tesseract), not its text")
    boxes = [_ICDAR.match(line) for line in lines]
    if all(boxes):
        texts = [_column(match.group(1) if match.group(1) is not None else match.group(2)) for match in boxes if match]
        kept = [text for text in texts if text not in ("###", "*", "")]
        if not kept:
            raise Unusable(f"{name} holds boxes, none with a text")
        return "\n".join(kept), (COORDINATES,)
    if words := [match.group(1) for line in lines if (match := _WORDSTR.match(line))]:
        return "\n".join(words), (COORDINATES,)
    return content, ()


def _column(text: str) -> str:
    """The text of a box: without its script (ICDAR MLT) and its quotes (ICDAR 2013)."""
    text = text.strip()
    if script := _SCRIPT.match(text):
        text = script.group(1).strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


LAYOUT = Layout(
    "images with texts beside them",
    "a folder of images with `NAME.md`, `NAME.txt` or Tesseract's `NAME.gt.txt` beside each, or in a folder `labels`, "
    "`texts` or `gt` beside theirs; of ICDAR's and SROIE's box files the text column is taken; front matter of a .md "
    "is left out",
    recognise,
    read,
)
