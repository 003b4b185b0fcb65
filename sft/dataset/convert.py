"""Converting between the two row formats, without loss: keys that the formats do not know come along.

Tables in HTML or Markdown become OTSL, the only form that the base model writes and the measures read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from sft.dataset import rows
from sft.dataset.columns import erniekit_row, messages_row, plain_rows
from sft.dataset.lines import blocks, numbered
from sft.dataset.reading import detect_file
from sft.dataset.rows import IMAGE_MARK, Format, Sample
from sft.dataset.rules import RULES
from sft.dataset.writing import replacing
from sft.errors import DatasetError, listed
from sft.notation import otsl, tables

TABLE = "Table Recognition:"
KNOWN = {"erniekit": ("image_info", "text_info"), "messages": ("messages", "images")}
_ENCODER = msgspec.json.Encoder()
SHOWN = 5  # broken rows that the error names


def convert(source: Path, target: Path, form: Format, *, force: bool = False) -> int:
    """Write the rows of ``source`` to ``target`` in the other format; returns their number.

    Image paths are kept as they are: source and target belong into one folder, unless all images have addresses.

    Raises:
        DatasetError: rows are broken, or cannot be said in the format, or their paths would point nowhere from the
            target's folder; nothing is written.
        InputError: the target exists.
    """
    if source.resolve() == target.resolve():
        raise DatasetError("source and target are one file", where=str(source), remedy="choose another name")
    before, problems, count = detect_file(source), list[str](), 0
    if leaves(source, target) and _has_paths(source, before):
        raise elsewhere(source, target)
    with replacing(target, force=force) as file:
        for block in blocks(source):
            lines = [block.data] if block.overlong else block.lines()
            fast = None if block.overlong else _whole(block.data, lines, before, form)
            if fast is not None:
                file.write(fast)
                count += len(lines)
                continue
            for number, line in enumerate(lines, block.first):
                if not line.strip():
                    continue
                try:
                    file.write(convert_line(line, before, form) + b"\n")
                    count += 1
                except ValueError as error:
                    problems.append(f"{source}:{number}: {error}")
        if problems:
            said = f"{len(problems)} rows cannot be converted, so that nothing is written:{listed(problems, SHOWN)}"
            raise DatasetError(said, remedy=f"sft validate {source}")
    return count


def _has_paths(source: Path, form: Format) -> bool:
    """Does a good row name an image by its path?"""
    samples = (rows.decode(line, form) for _, line in numbered(source))
    return any("://" not in name[:16] for sample in samples if sample for name, _ in sample.images)


def leaves(source: Path, target: Path) -> bool:
    """Is the target's folder another one? One that is a file is the business of whoever opens it."""
    return not target.parent.is_file() and source.parent.resolve() != target.parent.resolve()


def elsewhere(source: Path, target: Path) -> DatasetError:
    """The error for a target in another folder, where the relative paths of the rows would point nowhere."""
    remedy = f"write it into {source.parent}, or: sft import {source} {target}, which copies the images along"
    said = "the rows name images relative to the folder of their file, and the new file lies in another"
    return DatasetError(said, where=str(target), remedy=remedy)


def _whole(data: bytes, lines: list[bytes], before: Format, form: Format) -> bytes | None:
    """A block of rows of one turn and one image, all at once; None where a row needs a closer look."""
    decoded = plain_rows(data, lines, before)
    if decoded is None or any(TABLE in prompt for prompt in set(decoded.prompts)):
        return None
    if before == form:
        return data if data.endswith(b"\n") else data + b"\n"
    prompts, answers, images = decoded
    marks = data.count(IMAGE_MARK.encode())
    if not all(map(str.strip, answers)) or marks != (0 if form == "messages" else len(prompts)):
        return None
    plain = prompts if form == "messages" else [prompt.replace(IMAGE_MARK, "") for prompt in prompts]
    if not all(map(str.strip, plain)):
        return None
    if form == "messages":
        return _ENCODER.encode_lines([messages_row(IMAGE_MARK + p, a, i) for p, a, i in zip(plain, answers, images)])
    return _ENCODER.encode_lines([erniekit_row(p, a, i) for p, a, i in zip(plain, answers, images)])


def convert_line(line: bytes, before: Format, form: Format) -> bytes:
    """One row in the other format.

    Raises:
        ValueError: it is broken, its table needs a decision to become OTSL, or there is the text ``<image>`` where that
            would become a mark.
    """
    sample = rows.decode(line, before)
    if sample is None:
        said = "; ".join(f"{rule}: {RULES[rule].says} (found {value})" for rule, value in rows.breaches(line, before))
        raise ValueError(said or "it is broken")
    if form == "messages" and any(IMAGE_MARK in prompt for prompt, _ in sample.turns):
        raise ValueError("a prompt has the text <image>, which is a mark in the format messages")
    sample = with_otsl(sample)
    row = msgspec.json.decode(line)
    extra = {key: value for key, value in row.items() if key not in KNOWN[before]}
    if clash := set(extra) & set(KNOWN[form]):
        raise ValueError(f"it has the keys of both formats: {', '.join(sorted(clash))}")
    return _ENCODER.encode({**as_row(sample, form), **extra})


def with_otsl(sample: Sample) -> Sample:
    """The row as it is trained: answers that are tables in HTML or Markdown are OTSL, all else is as it was.

    Raises:
        ValueError: a table needs a decision.
    """
    return Sample(sample.images, tuple((prompt, _answer(prompt, answer)) for prompt, answer in sample.turns))


def _answer(prompt: str, answer: str) -> str:
    if prompt.strip() != TABLE or not otsl.unreadable(answer) or not tables.kind(answer):
        return answer
    try:
        return tables.to_otsl(answer)
    except ValueError as error:
        raise ValueError(f"the table in {tables.kind(answer)} cannot become OTSL by itself: {error}") from error


def as_row(sample: Sample, form: Format) -> dict[str, Any]:
    """The row as plain data in a format."""
    return rows.to_messages(sample) if form == "messages" else rows.to_erniekit(sample)
