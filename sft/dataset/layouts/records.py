"""Records: JSON (an array, or one object), JSONL, CSV and TSV, Parquet and Arrow, one mapping after the other."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from sft.dataset.encodings import UnknownEncoding, decoded
from sft.dataset.layouts.base import MAX_FILE, SUFFIXES, Entry, Found, Problem, Source, Unusable
from sft.dataset.lines import LFS, MARK, numbered, open_file
from sft.dataset.rules import MAX_LINE
from sft.errors import DatasetError

BATCH = 64  # rows of a table in memory
TABLES = (".parquet", ".arrow")
KINDS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", *TABLES)
WRAPPERS = ("data", "rows", "items", "samples", "annotations", "data_list")  # {"data": [record, …]}

Record = tuple[str, "dict[str, Any] | Problem"]  # where, and the record or what is wrong with it


def first(source: Source) -> dict[str, Any]:
    """The first record, read once; empty where the file has none or cannot be read (reading it says why)."""
    if source.known is None:
        source.known = _first(source)
    return source.known


def _first(source: Source) -> dict[str, Any]:
    if not source.name.endswith(KINDS) or not source.path.is_file():
        return {}
    try:
        return next((record for _, record in records(source) if isinstance(record, dict)), {})
    except (DatasetError, OSError):
        return {}


def each(source: Source, row: Callable[[str, Any], Found]) -> Iterator[Entry]:
    """``row`` of each record and of where it stands; what it finds unusable is a problem of that place."""
    for where, record in records(source):
        if isinstance(record, Problem):
            yield record
            continue
        try:
            yield row(where, record)
        except Unusable as error:
            yield Problem(where, str(error))


def records(source: Source) -> Iterator[Record]:
    """The records of a file.

    Raises:
        DatasetError: the file cannot be read as what its name says.
    """
    path, name = source.path, source.name
    if source.head.startswith(LFS):
        remedy = "git lfs pull in the clone, or download the file from its page"
        raise DatasetError("it is a git-lfs pointer, not the file itself", where=str(path), remedy=remedy)
    if name.endswith(TABLES):
        yield from _table(path)
    elif name.endswith((".csv", ".tsv")):
        yield from _delimited(source)
    elif name.endswith(".json") or _is_document(source):
        yield from _document(source)
    else:
        yield from _lines(source)


def _is_document(source: Source) -> bool:
    """An array, or an object over several lines, under the name of JSONL."""
    head = source.head.lstrip(MARK + b" \r\n\t")
    return head.startswith(b"[") or head.partition(b"\n")[0].strip() == b"{"


def text_of(source: Source) -> str:
    """The whole text of a file.

    Raises:
        DatasetError: it is too large, or its encoding is unknown.
    """
    path = source.path
    with open_file(path) as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        remedy = "cut it into parts, or write JSON arrays as JSONL (jq -c '.[]')"
        raise DatasetError(f"a text file has at most {MAX_FILE >> 20} MiB", where=str(path), remedy=remedy)
    try:
        return decoded(content, source.options.encoding)
    except UnknownEncoding as error:
        raise DatasetError(str(error).partition(": name")[0], where=str(path), remedy=_next(error, path)) from error


def _next(error: UnknownEncoding, path: Path) -> str:
    option = str(error).partition("such as ")[2] or "--encoding ENCODING"
    return f"sft import … {option}, or write it anew: iconv -f {option.split()[-1]} -t UTF-8 {path}"


def _lines(source: Source) -> Iterator[Record]:
    if source.head[:2] in (b"\xff\xfe", b"\xfe\xff") or source.options.encoding:
        lines = enumerate(text_of(source).encode("utf-8", "surrogatepass").split(b"\n"), 1)
        found: Iterator[tuple[int, bytes]] = ((number, line) for number, line in lines if line.strip())
    else:
        found = numbered(source.path)
    for number, line in found:
        where = f"{source.path}:{number}"
        if len(line) > MAX_LINE:
            yield where, Problem(where, f"a line has at most {MAX_LINE >> 20} MiB")
            continue
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield where, Problem(where, _no_json(line, str(error)))
            continue
        yield where, record if isinstance(record, dict) else Problem(where, "it is no JSON object")


def _no_json(line: bytes, said: str) -> str:
    try:
        decoded(line)
    except UnknownEncoding as error:
        return str(error)
    return f"it is no JSON: {said}"


def _document(source: Source) -> Iterator[Record]:
    """A JSON array of records, one wrapped in an object, {name: text}, or one record."""
    path = source.path
    text = text_of(source)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        # JSONL under another name, or a line of it that is damaged
        if (text.lstrip()[:1] == "{" or not source.name.endswith(".json")) and len(text.splitlines()) > 1:
            yield from _lines(source)
            return
        raise DatasetError(f"it is no JSON: {error}", where=str(path), remedy="write it anew") from error
    items: Any = content
    if isinstance(content, dict):
        wrapped = next((content[key] for key in WRAPPERS if _are_records(content.get(key))), None)
        named = bool(content) and all(key.lower().endswith(SUFFIXES) for key in content)
        items = wrapped if wrapped is not None and not _is_coco(content) else [content]
        if named:
            items = [{"file_name": key, "text": value} for key, value in content.items()]
    if not isinstance(items, list):
        raise DatasetError("it is no JSON array of objects", where=str(path), remedy="write a list of records")
    for number, item in enumerate(items, 1):
        where = f"{path}:[{number}]"
        yield where, item if isinstance(item, dict) else Problem(where, "it is no JSON object")


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _is_coco(content: dict[str, Any]) -> bool:
    return "annotations" in content and ("images" in content or "categories" in content)


def _delimited(source: Source) -> Iterator[Record]:
    """Rows of CSV or TSV; where the first line has an image's name, it is no header."""
    csv.field_size_limit(MAX_LINE)
    text = text_of(source)
    if text.lower().startswith("sep="):  # Excel's
        text = text.partition("\n")[2]
    header = text.partition("\n")[0]
    delimiter = max("\t,;|", key=header.count) if any(mark in header for mark in "\t,;|") else ","
    # Strict: a quote that nobody closes would swallow the rows behind it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] = []
    began = 0  # lines read before the row that is being read
    try:
        for cells in reader:
            where = f"{source.path}:{began + 1}"
            began = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                headless = cells[0].strip().lower().endswith(SUFFIXES)
                names = ["file_name", "text"] if headless else [cell.strip() for cell in cells]
                if not headless:
                    continue
            if len(cells) > len(names) and len(names) == 2:  # a text with delimiters that nobody quoted
                cells = [cells[0], delimiter.join(cells[1:])]
            if len(cells) != len(names):
                yield where, Problem(where, f"{len(cells)} cells, the first line has {len(names)}")
                continue
            yield where, dict(zip(names, cells))
    except csv.Error as error:
        remedy = 'put a text with quotes, line ends or delimiters between quotes, and write "" for a quote in it'
        begun = began + 1 if reader.line_num > began + 1 else reader.line_num
        raise DatasetError(f"it is no CSV: {error}", where=f"{source.path}:{begun}", remedy=remedy) from error


def _table(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        batches = _parquet(path, pq) if path.suffix == ".parquet" else _arrow(path, pa)
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield f"{path}:{number}", row
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetError(f"the table cannot be read: {error}", where=str(path), remedy="write it anew") from error


def _parquet(path: Path, pq: Any) -> Iterator[Any]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=BATCH)


def _arrow(path: Path, pa: Any) -> Iterator[Any]:
    with pa.memory_map(str(path)) as source:
        try:
            stream = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:  # the file format, with a footer; datasets writes streams
            whole = pa.ipc.open_file(source)
            stream = (whole.get_batch(i) for i in range(whole.num_record_batches))
        for batch in stream:
            for at in range(0, batch.num_rows, BATCH):
                yield batch.slice(at, BATCH)
