"""Making a dataset file of what people have; how each layout is told and read stands in :mod:`sft.dataset.layouts`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from sft.dataset import texts
from sft.dataset.convert import as_row
from sft.dataset.finding_files import MISSING, OUTSIDE, Finder
from sft.dataset.layouts import entries
from sft.dataset.layouts.base import Found, Note, Options, Places, Problem, Unusable
from sft.dataset.layouts.tables import table_text
from sft.dataset.layouts.walking import SPLITS, Folder, walk
from sft.dataset.placing import Placer
from sft.dataset.reading import refuse_address
from sft.dataset.rows import IMAGE_MARK, Sample, breaches
from sft.dataset.rules import RULES
from sft.dataset.tasks import BUILT_IN, find
from sft.dataset.writing import replacing
from sft.errors import DatasetError, InputError, listed
from sft.notation import spotting

HUB_NAME = re.compile(r"[\w-]+/[\w.-]+")  # OWNER/NAME
FOLDERS = 1000  # folders that are looked through for an image
SHOWN = 5  # problems that an error names
NUMBERS = "answers that are numbers, written as text: leading zeros may be lost already"
LISTS = "answers that are lists, written as one text, a line each"
TABLE = "Table Recognition:"


def import_dataset(
    source: Path, target: Path, options: Options, said: Callable[[str], None] = lambda text: None
) -> int:
    """Write ``target`` (JSONL) and, beside it, the images that lie elsewhere; returns the number of rows.

    Args:
        source: a folder or file in one of the layouts of :mod:`sft.dataset.layouts`.
        said: called with each thing that was left out or changed, and how often.
    Raises:
        DatasetError: something in the source cannot be used; nothing is written.
        InputError: no such source, nothing in it, it needs a decision, or the target exists.
    """
    source, target = source.expanduser(), target.expanduser()
    if options.images is not None:
        options = replace(options, images=options.images.expanduser())
    if not source.exists():
        refuse_address(source)
        dangling = "a link to something that does not exist" if source.is_symlink() else "no such file or folder"
        remedy = "correct the path" + (_of_the_hub(source) if HUB_NAME.fullmatch(str(source)) else "")
        raise InputError(dangling, where=str(source), remedy=remedy)
    if find(options.task, BUILT_IN) is None:
        names = ", ".join(task.name for task in BUILT_IN.values())
        remedy = f"use {names}, or a prompt in quotes, such as --task 'Read the invoice as JSON:'"
        raise InputError("no such task", where="--task", value=options.task, remedy=remedy)
    options = replace(options, split=SPLITS.get(options.split.lower(), options.split))
    if options.split and not source.is_dir():
        raise InputError("--split chooses in a folder", where=str(source), value=options.split, remedy="leave it out")
    importer = _Importer(source, target, options)
    count = importer.run()
    for text in importer.notes():
        said(text)
    return count


def _of_the_hub(source: Path) -> str:
    return (
        f"; a dataset of the Hub: hf download --repo-type dataset {source} --local-dir {source.name}, then import that"
    )


class _Importer:
    """One import: counts what it leaves out, and gathers what cannot be used."""

    def __init__(self, source: Path, target: Path, options: Options) -> None:
        self.source, self.target, self.options = source, target, options
        self._problems: list[str] = []
        self._notes: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def run(self) -> int:
        """Write rows and images; the number of rows."""
        count, source, options = 0, self.source, self.options
        finder = Finder(_folders(source, options))
        with (
            replacing(self.target, force=options.force) as file,
            Placer(self.target.parent, source, finder) as placer,
        ):
            for entry in entries(source, options, self.target):
                if isinstance(entry, Note):
                    self._note(entry.says, entry.where)
                elif isinstance(entry, Problem):
                    self._problems.append(f"{entry.where}: {entry.says}")
                else:
                    try:
                        file.write(self._row(entry, placer) + b"\n")
                        count += 1
                    except Unusable as error:
                        self._problems.append(f"{entry.where}: {error}")
            self._check(count)
            placer.commit()
        return count

    def notes(self) -> list[str]:
        """What was left out or changed, a line each."""
        found = [f"{count} × {says}" + self._place(says, count) for says, count in self._notes.items()]
        if self._problems:
            found.append(f"{len(self._problems)} × skipped:{listed(self._problems, SHOWN)}".rstrip())
        return found

    def _place(self, says: str, count: int) -> str:
        first = self._first.get(says, "")
        return f" ({'first: ' if count > 1 else ''}{first})" if first else ""

    def _note(self, says: str, where: str) -> None:
        self._notes[says] += 1
        self._first.setdefault(says, where)

    def _row(self, found: Found, placer: Placer) -> bytes:
        """The row in the format wanted.

        Raises:
            Unusable: an image or a text of it cannot be used.
        """
        images = []
        for picture in found.images:
            path, note = placer.place(picture, found.base)
            images.append((path, picture.turn))
            if note:
                self._note(note, found.where)
        turns = []
        for prompt, answer in found.turns:
            if isinstance(answer, Places):
                answer = spotted(answer, *placer.size(images[0][0]))
            text, note = answer_text(answer)
            prompt = prompt.strip() or self.options.prompt
            if prompt == TABLE:
                text, converted = table_text(text)
                note = note or converted
            turns.append((prompt, text))
            if note:
                self._note(note, found.where)
        if self.options.form == "messages" and any(IMAGE_MARK in prompt for prompt, _ in turns):
            raise Unusable("a prompt has the text <image>, which is a mark in the format messages")
        sample = Sample(tuple(images), tuple(turns))
        line = msgspec.json.encode(as_row(sample, self.options.form))
        wrong = [(rule, value) for rule, value in texts.breaches(sample) if RULES[rule].error]
        if broken := [*breaches(line, self.options.form), *wrong]:
            raise Unusable(
                "; ".join(f"{RULES[rule].says} (found {value}): {RULES[rule].remedy}" for rule, value in broken)
            )
        for note in found.notes:
            self._note(note, found.where)
        return line

    def _check(self, count: int) -> None:
        problems = self._problems
        if problems and not (self.options.skip and count):
            entries_ = "entries" if len(problems) > 1 else "entry"
            said = f"{len(problems)} {entries_} cannot be used, so that nothing is written:{listed(problems, SHOWN)}"
            remedy = "correct them" + ("" if self.options.skip else ", or leave them out with --skip")
            lost = [problem for problem in problems if MISSING in problem or OUTSIDE in problem]
            if lost:
                remedy += f"; or say where the images lie: --images {_lies(self.source, lost[0].rpartition(': ')[2])}"
            raise DatasetError(said, remedy=remedy)
        if not count:
            seen = "; ".join(self.notes())
            remedy = "name a folder of images with .txt or .md beside them, or a list of them (docs/importing.md)"
            raise InputError("nothing to import was found", where=str(self.source), value=seen, remedy=remedy)


def _lies(source: Path, name: str) -> str:
    """The folder below the source from which an image that was not found can be reached, if one of the first has it."""
    wanted = Path(os.path.normpath(name.replace("\\", "/")))
    for folder in islice(walk(source if source.is_dir() else source.parent), FOLDERS):
        if isinstance(folder, Folder) and wanted.name in folder.files:
            base = str(folder.path / wanted.name).removesuffix(str(wanted))
            if base.endswith("/"):
                return base.rstrip("/")
    return "FOLDER"


def _folders(source: Path, options: Options) -> list[Path]:
    """Where images are looked for: a label file may lie beside the folder that its paths begin with, or inside it."""
    given = [options.images] if options.images is not None else []
    if source.is_dir():
        return [*given, source, source.absolute().parent]
    return [*given, source.absolute().parent, source.absolute().parent.parent]


def spotted(answer: Places, width: int, height: int) -> str:
    """Texts and their places as the model writes them.

    Args:
        width, height: of the image, in px.
    """
    return "\n".join(spotting.line(text, corners, width, height) for text, corners in answer.lines)


def answer_text(answer: Any) -> tuple[str, str]:
    """(the text of an answer, what was done to it).

    Raises:
        Unusable: it is null, empty or blank, or no text.
    """
    if isinstance(answer, list) and answer and all(isinstance(part, str) for part in answer):
        return answer_text("\n".join(answer))[0], LISTS if len(answer) > 1 else ""
    if isinstance(answer, int) and not isinstance(answer, bool):
        return str(answer), NUMBERS
    if isinstance(answer, float):
        raise Unusable(f"its text is a number ({answer}): write the column as text, as digits may be lost in it")
    if answer is None or answer in ("", []):
        raise Unusable("its text is empty" + (" (null)" if answer is None else ""))
    if not isinstance(answer, str):
        raise Unusable(f"its text is a {type(answer).__name__}: write it as text, or name another --text-column")
    if not answer.strip():
        raise Unusable("its text is empty")
    return answer.replace("\r\n", "\n").replace("\r", "\n").strip(), ""
