"""The files of a folder: linked folders are read, what systems and tools leave behind is not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sft.dataset.layouts.base import Note

JUNK = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"})
JUNK_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "lost+found", "__pycache__"})
LINKED = "linked folders that were read, too"
LINK_TEXTS = "texts of links that were copied as files, and not followed: copy with cp -rL"
# The Hub's names of splits, where they stand by themselves in a file's or folder's name (datasets: data_files.py).
SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation"}
SPLITS |= {"dev": "validation", "test": "test", "testing": "test", "eval": "test", "evaluation": "test"}
_SPLIT = re.compile(rf"(?:^|[-_. ])({'|'.join(SPLITS)})(?=$|[-_. \d])", re.IGNORECASE)


@dataclass(frozen=True)
class Folder:
    """One folder below the source, and its files by name, sorted."""

    path: Path
    files: tuple[str, ...]


def walk(source: Path) -> Iterator[Folder | Note]:
    """The folders below a source, itself first, in order; a linked folder once, and never round in circles.

    Hidden files and folders (AppleDouble's ``._…``, .DS_Store, .git), thumbnails and __MACOSX are passed over.
    """
    seen = {os.path.realpath(source)}
    stack = [source]
    while stack:
        folder = stack.pop()
        inner, files = [], []
        for name in sorted(os.listdir(folder)):
            if name.startswith(".") or name.lower() in JUNK:
                continue
            path = folder / name
            if not path.is_dir():
                files.append(name)
                if "." not in name and _is_link_text(path):
                    yield Note(LINK_TEXTS, str(path))
            elif name.lower() not in JUNK_FOLDERS:
                real = os.path.realpath(path)
                if path.is_symlink():
                    if real in seen or os.path.realpath(source).startswith(real + os.sep):
                        continue
                    yield Note(LINKED, f"{path} → {real}")
                seen.add(real)
                inner.append(path)
        yield Folder(folder, tuple(files))
        stack += reversed(inner)


def _is_link_text(path: Path) -> bool:
    """Does the file hold the path of something that exists, and no more? Git and uploads make such ones of links."""
    if not path.is_file() or path.stat().st_size > 1024:
        return False
    text = path.read_bytes().decode("utf-8", "replace").strip()
    return bool(text) and "\0" not in text and "\n" not in text and (path.parent / text).exists()


def split_of(path: Path, root: Path) -> str:
    """train, validation or test by the file's name, else by its folders' below the root; empty where nothing says."""
    try:
        parts = path.relative_to(root).parts
    except ValueError:
        parts = (path.name,)
    for part in reversed(parts):
        if found := _SPLIT.search(Path(part).stem if part == path.name else part):
            return SPLITS[found.group(1).lower()]
    return ""
