"""Finding the file that a label means, also if it was written on another machine; never outside the folders given."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

_DRIVE = re.compile(r"^(?:[A-Za-z]:[\\/]|\\\\)")
LONGEST = 4096  # characters of a path: the system's bound

MISSING = "the image does not exist"
OUTSIDE = "the image lies outside the folder"
NORMAL_FORM = "names in another Unicode normal form (macOS)"


class Finder:
    """Looks for images below folders, in their order; folders are listed once, and only where a name is not there."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [Path(os.path.abspath(folder)) for folder in folders]
        self._listed: dict[str, dict[str, str]] = {}
        self._moved: dict[Path, str] = {}

    def find(self, name: str, base: Path | None = None) -> tuple[Path, str]:
        """(the file, how its name had to be read; empty where it stands there as it is).

        Args:
            base: the folder of the file that names it; looked into first, and the folder above it.

        Raises:
            ValueError: there is none, with what there is instead.
        """
        if len(name) > LONGEST or "\0" in name:
            raise ValueError(f"{MISSING}: {name[:60]!r}… is no path")
        folders = self._from(base)
        for said, reading in _readings(name):
            for folder in folders:
                path = Path(os.path.normpath(folder / reading))
                if self._inside(path) and path.is_file():
                    return path, said
        for said, reading in _readings(name):
            for folder in folders:
                if found := self._alike(folder, reading):
                    other = "names in another case" if _nfc(str(found)) != _nfc(str(folder / reading)) else NORMAL_FORM
                    return found, said or other
        if _is_absolute(name):
            return self._moved_here(name, folders)
        # Whether it exists outside is nobody's business who wrote the label.
        outside = not any(self._inside(folder / name.replace("\\", "/")) for folder in self.folders)
        raise ValueError(f"{OUTSIDE if outside else MISSING}: {name}")

    def _from(self, base: Path | None) -> list[Path]:
        if base is None:
            return self.folders
        own = Path(os.path.abspath(base))
        return list(
            dict.fromkeys([*self.folders[:-2], *(f for f in (own, own.parent) if self._inside(f)), *self.folders])
        )

    def _inside(self, path: Path) -> bool:
        normal = os.path.normpath(path)
        return any(f"{normal}/".startswith(f"{str(folder).rstrip('/')}/") for folder in self.folders)

    def _alike(self, folder: Path, name: str) -> Path | None:
        """The file of the same name but for its Unicode normal form or letter case, where there is only one."""
        place = str(folder)
        for part in Path(os.path.normpath(name)).parts:
            if part in ("..", "/"):
                return None
            found = self._names(place).get(_folded(part))
            if not found:
                return None
            place = f"{place}/{found}"
        return Path(place) if os.path.isfile(place) else None

    def _names(self, folder: str) -> dict[str, str]:
        """Folded name → name; an empty text where two names differ in case only."""
        if folder not in self._listed:
            names: dict[str, str] = {}
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                names[_folded(name)] = "" if _folded(name) in names else name
            self._listed[folder] = names
        return self._listed[folder]

    def _moved_here(self, name: str, folders: Sequence[Path]) -> tuple[Path, str]:
        """A path of another machine: what of its end exists here, the longest end first."""
        parts = [part for part in re.split(r"[\\/]", name)[1:] if part]
        for start in range(len(parts)):
            for folder in folders:
                path = Path(os.path.normpath(folder.joinpath(*parts[start:])))
                if not (self._inside(path) and path.is_file()):
                    continue
                if self._moved.setdefault(path, name) != name:
                    raise ValueError(f"two paths of another machine end alike: {self._moved[path]} and {name}")
                return path, "absolute paths of another machine, found by their ends"
        raise ValueError(f"{MISSING}: {name}, a path of another machine, and no end of it exists here")


def _readings(name: str) -> Iterator[tuple[str, str]]:
    """(what was done to it, the path) of each way to read a name."""
    plain = "" if _is_absolute(name) else name
    if plain:
        yield "", plain
    elif name.startswith("/"):
        yield "", name
    if "\\" in name and plain:
        yield "backslashes in paths", plain.replace("\\", "/")
    if "/data/" in name or "%" in name:
        for inner in _label_studio(name):
            yield "addresses of Label Studio", inner
        if "%" in name:
            yield "percent-encoded names", unquote(name)


def _label_studio(name: str) -> Iterator[str]:
    """The file behind an address of Label Studio: /data/local-files/?d=PATH, /data/upload/PROJECT/HASH-NAME."""
    parts = urlsplit(name)
    if parts.path.rstrip("/").endswith("/local-files"):
        for path in parse_qs(parts.query).get("d", []):
            yield path.lstrip("/")
            raw = parts.query.partition("d=")[2].partition("&")[0]
            yield raw.lstrip("/")
            yield from (path.rpartition("/")[2], raw.rpartition("/")[2])
    elif "/data/upload/" in parts.path:
        inner = parts.path.partition("/data/upload/")[2]
        for path in (inner, inner.rpartition("/")[2]):
            yield path
            yield unquote(path)
            yield f"images/{unquote(path)}"


def _is_absolute(name: str) -> bool:
    return name.startswith("/") or bool(_DRIVE.match(name))


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _nfc(_nfc(name).casefold())
