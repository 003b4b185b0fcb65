"""The frame of a program that reads with a model in an environment of its own (the other end: reader_process.py).

It is told by lines of JSON on stdin and tells by lines of JSON on stdout; whatever else the packages that it uses
print goes to stderr. First line: ``{"model": folder, "device": cpu or gpu}``; answer ``{"ready": {"versions": …,
"device": …}}``. Then, for each line ``{"rows": [[[image, …], prompt, answer], …] for each row, "batch_size",
"max_new_tokens", "lengths"}``, a line ``{"answers": [[row, text, cut], …]}`` as soon as a batch has been read, and at
last ``{"done": rows}``. What goes wrong is a line ``{"error": why}``, and the program ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sft.models.questions import Answer, Question, Turn

NOT_INSTALLED = 3  # exit code: the environment lacks the packages

Batch = list[tuple[int, Answer]]


@dataclass(frozen=True)
class Asked:
    """What is read together: rows with all their turns, and how (see :class:`sft.models.readers.Reader`)."""

    rows: list[Question]
    batch_size: int
    max_new_tokens: int
    lengths: Sequence[int]


@dataclass(frozen=True)
class Loaded:
    """A model that has been loaded: by which packages' versions, where it computes, and how it reads."""

    versions: dict[str, str]
    device: str
    read: Callable[[Asked], Iterator[Batch]]


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
                asked = _asked(json.loads(line))
                for batch in loaded.read(asked):
                    tell(answers=[(number, *answer) for number, answer in batch])
                tell(done=len(asked.rows))
        except ImportError as error:
            tell(error=str(error))
            sys.exit(NOT_INSTALLED)
        except Exception as error:  # said to whoever asked; the traceback is for the log
            tell(error=f"{type(error).__name__}: {error}")
            raise


def _asked(request: dict[str, Any]) -> Asked:
    rows = [
        tuple(Turn(tuple(map(Path, images)), prompt, answer) for images, prompt, answer in turns)
        for turns in request["rows"]
    ]
    return Asked(rows, request["batch_size"], request["max_new_tokens"], request["lengths"])
