"""Doubtful labels as tasks for a label tool, and what came back as new answers of a dataset's rows.

The tasks are Label Studio's Basic JSON (labelstud.io/guide/task_format): ``data`` names the image and says which row it
is, ``predictions`` are what models read. What comes back is its JSON export (tasks with ``annotations``), or the same
tasks with the right text as ``corrected`` in their ``data``, written in by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import TypedDict

from sft.dataset.layouts.base import Problem, Source, Unusable
from sft.dataset.layouts.label_studio import annotated
from sft.dataset.layouts.records import records
from sft.dataset.lines import numbered
from sft.dataset.reading import detect_file
from sft.dataset.rows import Format
from sft.dataset.writing import replacing
from sft.errors import DatasetError, InputError, listed

SERVED = "/data/local-files/?d="  # where Label Studio serves files below its LOCAL_FILES_DOCUMENT_ROOT
SHOWN = 5  # problems that an error names
_ENCODER = msgspec.json.Encoder()


class Task(TypedDict):
    """A row in a label tool's hands."""

    data: dict[str, Any]
    predictions: list[dict[str, Any]]


def task(
    images: Sequence[str], facts: Mapping[str, Any], row: int, turn: int, label: str, read: Mapping[str, str]
) -> Task:
    """A task for a row.

    Args:
        images: as its file names them; the last is shown.
        facts: what else is said of it.
        row, turn: its place in the file, and the turn's in the row, from 0.
        label: the answer in the file.
        read: model → what it read; the last is what the tool suggests (ran: Label Studio 1.23.2).
    """
    shown = SERVED + images[-1].removeprefix("./") if images else ""
    data = {"image": shown, "images": list(images), "row": row, "turn": turn, "label": label, **facts}
    return Task(data=data, predictions=[_prediction(model, text) for model, text in read.items()])


def _prediction(model: str, text: str) -> dict[str, Any]:
    result = {"from_name": "transcription", "to_name": "image", "type": "textarea", "value": {"text": [text]}}
    return {"model_version": model, "result": [result]}


class _Correction(TypedDict):
    label: str  # what stands there
    answer: str  # what is right


Turns = dict[int, _Correction]  # turn of a row → its correction


def relabel(source: Path, corrected: Path, target: Path, *, force: bool = False) -> tuple[int, int]:
    """Write ``source`` with the corrected answers to ``target``, in the same folder; all else in it stays as it is.

    Returns: (answers that are others now, tasks that nobody has answered).
    Raises:
        InputError: the target lies elsewhere, or exists.
        DatasetError: the corrections cannot be read or do not fit: the file has changed since it was searched, or an
            answer would be empty. Nothing is written.
    """
    found, problems, unanswered = _corrections(corrected)
    if target.parent.resolve() != source.parent.resolve():
        said = "the rows name images relative to the folder of their file, and the new file lies in another"
        raise InputError(said, where=str(target), remedy=f"write it into {source.parent}")
    form, changed, row = detect_file(source), 0, -1
    with replacing(target, force=force) as file:
        for row, (number, line) in enumerate(numbered(source)):
            if row in found:
                line, wrong, fresh = _with(line, form, found[row])
                problems += [f"{source}:{number}: {problem}" for problem in wrong]
                changed += fresh
            file.write(line.rstrip(b"\n") + b"\n")
        if beyond := [at for at in found if at > row]:
            problems.append(f"{source} has {row + 1} rows, and row {max(beyond)} (from 0) is to be corrected")
        if problems:
            said = f"{len(problems)} corrections do not fit, so that nothing is written:{listed(problems, SHOWN)}"
            raise DatasetError(said, where=str(corrected), remedy="sft doubtful searches the file as it is now")
    return changed, unanswered


def _with(line: bytes, form: Format, corrections: Turns) -> tuple[bytes, list[str], int]:
    """(the row with its corrections, what is wrong with them, how many answers are others now)."""
    content = msgspec.json.decode(line)
    if form == "erniekit":
        key, answers = "text", [text for text in content["text_info"] if text["tag"] == "no_mask"]
    else:
        key, answers = "content", [one for one in content["messages"] if one["role"] == "assistant"]
    problems, changed = list[str](), 0
    for turn, correction in corrections.items():
        if turn >= len(answers) or answers[turn][key] not in (correction["label"], correction["answer"]):
            now = repr(answers[turn][key][:40]) if turn < len(answers) else "there is no such turn"
            problems.append(f"its label was {correction['label'][:40]!r} when it was searched, and is {now}")
        elif answers[turn][key] != correction["answer"]:
            answers[turn][key] = correction["answer"]
            changed += 1
    return (_ENCODER.encode(content) if changed else line), problems, changed


def _corrections(path: Path) -> tuple[dict[int, Turns], list[str], int]:
    """(row → its corrections, what is wrong with tasks, how many nobody has answered)."""
    found: dict[int, Turns] = {}
    problems, unanswered = list[str](), 0
    for where, given in records(Source(path)):
        if isinstance(given, Problem):
            problems.append(f"{where}: {given.says}")
            continue
        data = given.get("data")
        if not isinstance(data, dict) or not {"row", "turn", "label"} <= data.keys():
            problems.append(f"{where}: no task of sft doubtful: its data have no row, turn and label")
            continue
        try:
            answer = _answer(given, data)
        except Unusable as error:
            problems.append(f"{where}: {error}")
            continue
        if answer is None:
            unanswered += 1
        elif not answer.strip():
            problems.append(f"{where}: the answer would be empty, and trainers drop such rows: remove the row instead")
        else:
            found.setdefault(int(data["row"]), {})[int(data["turn"])] = _Correction(label=data["label"], answer=answer)
    return found, problems, unanswered


def _answer(given: dict[str, Any], data: dict[str, Any]) -> str | None:
    """The right text, or None where nobody has said it."""
    if isinstance(data.get("corrected"), str):
        return str(data["corrected"])
    done = given.get("annotations") or given.get("completions") or []
    if not any(isinstance(one, dict) and not (one.get("was_cancelled") or one.get("skipped")) for one in done):
        return None
    return "\n".join(annotated(given))
