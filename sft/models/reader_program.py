"""The frame of a program that reads with a model in an environment of its own (the other end: reader_process.py).

It is told by lines of JSON on stdin and tells by lines of JSON on stdout; whatever else the packages that it uses
print goes to stderr. First line: ``{"model": folder, "device": cpu or gpu}``; answer ``{"ready": {"versions": …,
"device": …}}``. Then, for each line ``{"rows": [[[image, …], prompt, answer], …] for each row, "batch_size",
"max_new_tokens", "lengths"}``, a line ``{"answers": [[row, text, cut], …]}`` as soon as a batch has been read, and at
last ``{"done": rows}``. With ``"said": [answer of each row, …]`` in place of the last two nothing is read: those
answers are weighed, and the lines are ``{"weights": [[row, cost, odds], …]}``. What goes wrong is a line ``{"error":
why}``, and the program ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sft.models.questions import Answer, Question, Turn, Weight

NOT_INSTALLED = 3  # exit code: the environment lacks the packages

Batch = list[tuple[int, Answer]]
Weights = list[tuple[int, Weight]]


@dataclass(frozen=True)
class Asked:
    """What is read together: rows with all their turns, and how (see :class:`sft.models.readers.Reader`)."""

    rows: list[Question]
    batch_size: int
    max_new_tokens: int
    lengths: Sequence[int]


@dataclass(frozen=True)
class Shown:
    """Answers that are weighed: of each row one, ``batch_size`` of them together."""

    rows: list[Question]
    said: list[str]
    batch_size: int


@dataclass(frozen=True)
class Loaded:
    """A model that has been loaded: by which packages' versions, where it computes, how it reads, and how it weighs
    answers, where it can.
    """

    versions: dict[str, str]
    device: str
    read: Callable[[Asked], Iterator[Batch]]
    weigh: Callable[[Shown], Iterator[Weights]] | None = None


def serve(load: Callable[[Path, str], Loaded]) -> None:
    """Load the model that stdin names, then read what stdin asks for, until it ends.

    Args:
        load: of (model folder, device). An ImportError in it says that the packages are not there.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as told:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

        def tell(**values: Any) -> None:
            told.write(json.dumps(values) + "\n")
            told.flush()

        try:
            first = json.loads(sys.stdin.readline())
            loaded = load(Path(first["model"]), first["device"])
            tell(ready={"versions": loaded.versions, "device": loaded.device})
            for line in sys.stdin:
                request = json.loads(line)
                for values in _weighed(loaded, request) if "said" in request else _read(loaded, request):
                    tell(**values)
                tell(done=len(request["rows"]))
        except ImportError as error:
            tell(error=str(error))
            sys.exit(NOT_INSTALLED)
        except Exception as error:  # said to whoever asked; the traceback is for the log
            tell(error=f"{type(error).__name__}: {error}")
            raise


def _read(loaded: Loaded, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    asked = Asked(_rows(request), request["batch_size"], request["max_new_tokens"], request["lengths"])
    for batch in loaded.read(asked):
        yield {"answers": [(number, *answer) for number, answer in batch]}


def _weighed(loaded: Loaded, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if loaded.weigh is None:
        raise ValueError("this backend reads, and weighs no answers")
    for batch in loaded.weigh(Shown(_rows(request), request["said"], request["batch_size"])):
        yield {"weights": [(number, *weight) for number, weight in batch]}


def _rows(request: dict[str, Any]) -> list[Question]:
    return [
        tuple(Turn(tuple(map(Path, images)), prompt, answer) for images, prompt, answer in turns)
        for turns in request["rows"]
    ]
