"""Making a dataset file of what people have: image folders with texts, PaddleOCR's labels, Parquet and Arrow tables."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from sft.dataset.convert import as_row, with_otsl
from sft.dataset.rows import IMAGE_MARK, Format, Sample
from sft.dataset.rules import IMAGE_TYPES, TASKS
from sft.dataset.writing import replacing
from sft.errors import DatasetError, InputError, listed

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
TEXTS = (".md", ".txt")  # the first that exists counts
TABLES = (".parquet", ".arrow")
BATCH = 64  # rows of a table in memory
SHOWN = 5  # problems that an error names
IGNORED = ("###", "*")  # what PaddleOCR's label tool writes for text that nobody can read


@dataclass(frozen=True)
class Options:
    """How a source is read.

    Attributes:
        task: ocr, table, formula or chart: the prompt of rows that have none of their own.
        image_column, text_column: of a table, where it has no rows in a format of ours.
    """

    form: Format = "erniekit"
    task: str = "ocr"
    image_column: str = "image"
    text_column: str = "text"
    force: bool = False

    @property
    def prompt(self) -> str:
        """The base model's prompt for the task."""
        return next(prompt for prompt, task in TASKS.items() if task == self.task)


def import_dataset(source: Path, target: Path, options: Options) -> int:
    """Write ``target`` (JSONL) and, beside it, the images that lie elsewhere; returns the number of rows.

    Args:
        source: a folder of images with a .md or .txt file of the same name each, a label file of PaddleOCR, a
            .parquet or .arrow file, or a folder of such (the layout of datasets on the HF Hub).
    Raises:
        DatasetError: something in the source cannot be used; nothing is written.
        InputError: no such source, nothing in it, or the target exists.
    """
    problems: list[str] = []
    keeper = _Images(target.parent)
    if not source.exists():
        raise InputError("no such file or folder", where=str(source), remedy="correct the path")
    count = 0
    with replacing(target, force=options.force) as file:
        for where, row in _rows(source, options, keeper):
            if isinstance(row, str):
                problems.append(f"{where}: {row}")
                continue
            try:
                file.write(msgspec.json.encode(as_row(with_otsl(row), options.form)) + b"\n")
            except ValueError as error:
                problems.append(f"{where}: {error}")
            count += 1
        if problems:
            said = f"{len(problems)} entries cannot be used, so that nothing is written:{listed(problems, SHOWN)}"
            raise DatasetError(said)
        if not count:
            remedy = "images with .txt or .md beside them, a label file of PaddleOCR, .parquet or .arrow"
            raise InputError("nothing to import was found", where=str(source), remedy=remedy)
    return count


Entry = tuple[str, "Sample | str"]  # where, and the row or what is wrong with it


def _rows(source: Path, options: Options, keeper: _Images) -> Iterator[Entry]:
    tables = sorted(p for p in source.rglob("*") if p.suffix in TABLES) if source.is_dir() else []
    if source.suffix in TABLES or tables:
        for table in tables or [source]:
            yield from _table(table, options, keeper)
    elif source.is_dir():
        yield from _folder(source, options, keeper)
    else:
        yield from _labels(source, options, keeper)


class _Images:
    """Finds or makes the place of an image below the folder of the dataset file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def of_file(self, path: Path) -> str:
        """The path in a row: relative where the file lies below the folder, else of a copy."""
        real = path.resolve()
        if real.is_relative_to(self.folder):
            return "./" + real.relative_to(self.folder).as_posix()
        name = hashlib.sha256(str(real).encode()).hexdigest()[:16] + path.suffix.lower()
        copy = self._place(name)
        if not copy.exists() or copy.stat().st_size != real.stat().st_size:
            temporary = copy.with_name(f".{copy.name}.{os.getpid()}")
            shutil.copyfile(real, temporary)
            temporary.replace(copy)
        return "./" + copy.relative_to(self.folder).as_posix()

    def of_bytes(self, content: bytes) -> str:
        """The path of an image that was given by its bytes.

        Raises:
            ValueError: they are no image of an allowed type.
        """
        try:
            with Image.open(io.BytesIO(content), formats=IMAGE_TYPES) as image:
                suffix = "." + str(image.format).lower().replace("jpeg", "jpg")
        except Exception as error:  # Pillow's plugins raise what they like at hostile bytes
            raise ValueError(f"no image of type {', '.join(IMAGE_TYPES)}: {error}") from error
        place = self._place(hashlib.sha256(content).hexdigest()[:24] + suffix)
        if not place.exists():
            temporary = place.with_name(f".{place.name}.{os.getpid()}")
            temporary.write_bytes(content)
            temporary.replace(place)
        return "./" + place.relative_to(self.folder).as_posix()

    def _place(self, name: str) -> Path:
        place = self.folder / "images" / name[:2] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


def _folder(source: Path, options: Options, keeper: _Images) -> Iterator[Entry]:
    """Each image with the text beside it."""
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        text = next((path.with_suffix(suffix) for suffix in TEXTS if path.with_suffix(suffix).is_file()), None)
        if text is None:
            yield str(path), f"no text beside it: {path.stem}.md or {path.stem}.txt"
            continue
        yield str(path), _sample(options, keeper.of_file(path), _read(text))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        return ""


def _sample(options: Options, image: str, answer: str) -> Sample | str:
    answer = answer.strip()
    return Sample(((image, 0),), ((options.prompt, answer),)) if answer else "its text is empty, or not UTF-8"


def _labels(source: Path, options: Options, keeper: _Images) -> Iterator[Entry]:
    """PaddleOCR's label files: ``image<TAB>text`` of a line, ``image<TAB>[{"transcription", …}, …]`` of a page."""
    for number, line in enumerate(source.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{source}:{number}"
        try:
            name, tab, label = line.decode("utf-8").partition("\t")
        except UnicodeDecodeError:
            yield where, "it is not UTF-8"
            continue
        if not tab:
            yield where, "no tab between image and text: this is no label file of PaddleOCR"
            continue
        # A label file may lie beside the folder that its paths begin with, or inside it.
        image = next((p for p in (source.parent / name, source.parent.parent / name) if p.is_file()), None)
        if image is None:
            yield where, f"the image does not exist: {name}"
        elif not image.resolve().is_relative_to(source.resolve().parent.parent):
            yield where, f"the image lies outside the folder: {name}"
        else:
            yield where, _sample(options, keeper.of_file(image), _transcription(label))


def _transcription(label: str) -> str:
    """The text of a label; a page's lines in the order in which they stand there."""
    if label.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            entries = json.loads(label)
            if isinstance(entries, list) and all(isinstance(e, dict) and "transcription" in e for e in entries):
                lines = [str(e["transcription"]) for e in entries if e["transcription"] not in IGNORED]
                return "\n".join(lines)
    return label


def _table(path: Path, options: Options, keeper: _Images) -> Iterator[Entry]:
    """Rows in a format of ours, or a column of images and one of texts."""
    for number, row in enumerate(_records(path), 1):
        where = f"{path}:{number}"
        try:
            yield where, _table_row(row, options, keeper)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no column {error}; there are: {', '.join(row)}" if isinstance(error, KeyError) else str(error)
            yield where, reason


def _records(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=BATCH):
                    yield from batch.to_pylist()
            return
        with pa.memory_map(str(path)) as source:
            try:
                stream = pa.ipc.open_stream(source)
            except pa.ArrowInvalid:  # the file format, with a footer; datasets writes streams
                whole = pa.ipc.open_file(source)
                stream = (whole.get_batch(i) for i in range(whole.num_record_batches))
            for batch in stream:
                for at in range(0, batch.num_rows, BATCH):
                    yield from batch.slice(at, BATCH).to_pylist()
    except pa.ArrowException as error:
        raise DatasetError(f"the table cannot be read: {error}", where=str(path), remedy="write it anew") from error


def _table_row(row: dict[str, Any], options: Options, keeper: _Images) -> Sample | str:
    if "messages" in row and "images" in row:
        images = [_image(value, keeper) for value in row["images"]]
        return _from_messages(row["messages"], images)
    image, text = row[options.image_column], row[options.text_column]
    return _sample(options, _image(image, keeper), text if isinstance(text, str) else "")


def _image(value: Any, keeper: _Images) -> str:
    """A path of an image given as by ``datasets``: {"bytes", "path"}, bytes, or a path or address."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return keeper.of_bytes(value)
    if isinstance(value, str) and value:
        return value
    raise ValueError("no image")


def _from_messages(messages: list[dict[str, str]], images: list[str]) -> Sample | str:
    turns: list[tuple[str, str]] = []
    places: list[int] = []
    for prompt, answer in zip(messages[::2], messages[1::2]):
        if prompt.get("role") != "user" or answer.get("role") != "assistant":
            return "messages are not user, assistant, …"
        places += [len(turns)] * prompt["content"].count(IMAGE_MARK)
        turns.append((prompt["content"].replace(IMAGE_MARK, ""), answer["content"]))
    if len(places) != len(images) or not turns:
        return f"{len(places)} <image> marks, {len(images)} images"
    return Sample(tuple(zip(images, places)), tuple(turns))
