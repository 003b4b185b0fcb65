"""Asked and effective: what a trainer says that it uses is compared with what its config file asked for.

A value can be asked for and silently not used: an unknown key is ignored, another key decides, a default wins. Both
trainers print their effective arguments at start (``print_config`` of PaddleFormers' class Trainer, which ERNIEKit's
derives from): headlines ``Model|Data|Train|Training Configuration Arguments``, each with lines ``name   : value``.
Then they print ``Total optimization steps = N`` and, with every progress line, step and learning rate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from sft.engines.base import Progress, TrainSpec
from sft.errors import TrainingFailed

_HEAD = re.compile(r"- +\w+ Configuration Arguments\b")
_ARGUMENT = re.compile(r"\] *(?:\x1b\[0m)? - (?P<name>\w+) *: (?P<value>.*?)(?:\x1b\[0m)?$")
_CLASS = re.compile(r"\b\w+Arguments\((.*)\)")  # how ERNIEKit prints the arguments of its preprocessor
_FIELD = re.compile(r"(\w+)=('[^']*'|[^,']+)")
_BEGIN = re.compile(r"\*{5} Running training \*{5}")
_STEPS = re.compile(r"Total optimization steps = ([\d,]+)")
_ENUM = re.compile(r"<?\w+\.(?P<name>\w+)(?:: '(?P<value>[^']*)'>)?")  # SchedulerType.COSINE, <…: 'stage1'>
_FIRST = 3  # progress lines whose learning rate is compared
_TOLERANCE = 2e-3  # of a learning rate: the trainers print four digits
_SKIPPED = 64  # steps that float16's loss scaling may have skipped by then: the schedule does not move in them
_WHAT = "the trainer does not use what it was told"
_REMEDY = (
    "a fault of this project, not of your settings: take the other engine meanwhile. The engine's module (sft/engines) "
    "writes the config file: the key must be one that the trainer obeys; a right difference belongs to its `explained`"
)


class Effective:
    """Reads a trainer's output from its start and stops it at the first difference.

    Attributes:
        printed: the arguments as they were printed, name → text.
        difference: what was found to differ; nothing that the trainer does from then on is of use.
    """

    def __init__(self, config: Mapping[str, Any], explained: Mapping[str, str], spec: TrainSpec, start: int) -> None:
        """
        Args:
            config: what was written into the trainer's config file.
            explained: keys that are not printed as written, and why.
            start: the step that is resumed from; 0: none.
        """
        self.printed: dict[str, str] = {}
        self.difference: TrainingFailed | None = None
        self._asked = {key: value for key, value in config.items() if key not in explained}
        self._spec, self._start = spec, start
        self._reading = self._begun = False
        self._seen = 0

    def read(self, line: str) -> None:
        """Take in one line of the trainer's output.

        Raises:
            TrainingFailed: an argument differs from what was asked for, or was not printed; other steps are planned.
        """
        if self.difference is not None:
            raise self.difference
        if self._seen:
            return
        if _HEAD.search(line):
            self._reading = True
        elif self._reading and (match := _ARGUMENT.search(line.rstrip())):
            self.printed[match["name"]] = match["value"]
        elif match := _CLASS.search(line):
            self.printed |= {name: value.strip("'") for name, value in _FIELD.findall(match[1])}
        elif _BEGIN.search(line):
            self._compare()
        elif (match := _STEPS.search(line)) and int(match[1].replace(",", "")) != self._spec.max_steps:
            self._differ([("max_steps", str(self._spec.max_steps), match[1])])

    def progress(self, progress: Progress) -> None:
        """Take in one of the first progress lines.

        Raises:
            TrainingFailed: its step or its learning rate is not what the plan says.
        """
        if self.difference is not None:
            raise self.difference
        self._seen += 1
        if self._seen > _FIRST:
            return
        if not self._begun:
            self._compare()
        if self._seen == 1:
            every = self._spec.logging_steps
            if progress.step not in {self._start + 1, (self._start // every + 1) * every}:
                self._differ([("first step", str(self._start + 1), str(progress.step))])
        expected = self._spec.rate_at(progress.step)
        if not self._fits(progress):
            self._differ(
                [(f"learning rate of step {progress.step}", f"{expected:.4g}", f"{progress.learning_rate:.4g}")]
            )

    def _fits(self, progress: Progress) -> bool:
        earliest = max(0, progress.step - _SKIPPED) if self._spec.precision == "float16" else progress.step
        return any(
            math.isclose(progress.learning_rate, self._spec.rate_at(step), rel_tol=_TOLERANCE, abs_tol=1e-12)
            for step in range(earliest, progress.step + 1)
        )

    def _compare(self) -> None:
        self._begun, self._reading = True, False
        found = [(key, str(value), self.printed.get(key, "(not printed)")) for key, value in self._asked.items()]
        different = [
            entry for entry, value in zip(found, self._asked.values(), strict=True) if not same(value, entry[2])
        ]
        if different:
            self._differ(different)

    def _differ(self, differences: list[tuple[str, str, str]]) -> None:
        rows = [("", "asked for", "the trainer's"), *differences]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        table = "\n".join(f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)
        value = f"{len(differences)} difference{'s' if len(differences) > 1 else ''}"
        where = "the first steps" if self._seen else "before the first step"
        self.difference = TrainingFailed(f"{_WHAT}:\n{table}\n", where=where, value=value, remedy=_REMEDY)
        raise self.difference


def same(asked: Any, printed: str) -> bool:
    """Does a trainer print of its arguments what the config file asked for?

    Examples: ``same(5e-06, "5e-06")``, ``same("cosine", "SchedulerType.COSINE")``, ``same(False, "False")``.
    """
    if isinstance(asked, bool) or asked is None:
        return str(asked) == printed
    if isinstance(asked, int | float):
        try:
            return math.isclose(asked, float(printed), rel_tol=1e-9)
        except ValueError:
            return False
    if str(asked) == printed:
        return True
    enum = _ENUM.fullmatch(printed.strip("[]"))
    return enum is not None and str(asked).lower() in (enum["name"].lower(), enum["value"])
