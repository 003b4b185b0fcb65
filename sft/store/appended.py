"""Files of JSON lines to which one process adds while others read. A line that a kill has torn is no line.

Lines end at a line feed alone: a text may have U+2028 or U+0085 in it, which ``str.splitlines`` takes for the end of a
line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def entries(content: bytes) -> Iterator[dict[str, Any]]:
    """The objects of the lines; what is torn, or no JSON object, is left out."""
    for line in content.split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def kept(folder: Path) -> Iterator[dict[str, Any]]:
    """What all writers have added to the folder's files, by the files' names; nothing where there is no folder."""
    for part in sorted(folder.glob("*.jsonl")):
        yield from entries(part.read_bytes())


@contextmanager
def adding(folder: Path, writer: str) -> Iterator[Callable[[Mapping[str, object]], None]]:
    """A function that adds a line to ``writer``'s own file in the folder, which is made; a line is written at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{writer}.jsonl").open("a", encoding="utf-8", buffering=1, newline="\n") as file:
        if file.tell():
            file.write("\n")  # a line that a kill has torn ends here
        yield lambda entry: print(json.dumps(entry, ensure_ascii=False), file=file)
