"""The port through which a model reads rows, and its backends: ``paddleformers``, ``transformers``, ``vllm``.

To add one: a program like :mod:`sft.models.transformers_answers` and a line in :data:`PROCESSES`, or a class with the
methods of :class:`Reader`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol

from sft.errors import InputError
from sft.models import second_reader
from sft.models.questions import Answer, Question, Weight
from sft.models.reader_process import ProcessReader

Backend = Literal["paddleformers", "transformers", "vllm"]
VLLM = "SFT_VLLM_PYTHON"  # the Python of vLLM's environment
OURS: Backend = "paddleformers"  # the one that all others are compared with


class Reader(Protocol):
    """A loaded model that reads. ``versions`` are those of the packages that do."""

    backend: str
    versions: Mapping[str, str]

    def answers(
        self,
        rows: Sequence[tuple[Path, str] | Question],
        *,
        batch_size: int,
        max_new_tokens: int,
        lengths: Sequence[int] = (),
    ) -> Iterator[tuple[int, Answer]]:
        """(row number, answer), as they come; greedy.

        Args:
            rows: (image, prompt) pairs, or the turns of rows with more than that.
            batch_size: rows decoded together, where the backend does not choose that itself.
            max_new_tokens: longest answer (tokens).
            lengths: how long the answers may be (in any unit), where it is known.
        """
        ...

    def close(self) -> None:
        """Give back what the model took."""
        ...


class Weigher(Reader, Protocol):
    """A reader that also says what the model thinks of answers. vLLM refuses that when it is asked."""

    def weigh(
        self, rows: Sequence[tuple[Path, str] | Question], said: Sequence[str], *, batch_size: int
    ) -> Iterator[tuple[int, Weight]]:
        """(row number, what the model thinks of the answer ``said`` to it), as they come."""
        ...


class PaddleReader:
    """PaddleFormers' model class in this process (see :class:`sft.models.recognition.Recogniser`)."""

    backend: str = OURS
    versions: Mapping[str, str]

    def __init__(self, model: Path, device: str) -> None:
        from sft.models.recognition import Recogniser

        self.versions = {name: _installed(name) for name in ("paddlepaddle", "paddleformers")}
        self._recogniser = Recogniser(model, device)

    def answers(
        self,
        rows: Sequence[tuple[Path, str] | Question],
        *,
        batch_size: int,
        max_new_tokens: int,
        lengths: Sequence[int] = (),
    ) -> Iterator[tuple[int, Answer]]:
        """See :class:`Reader`."""
        yield from self._recogniser.answers(rows, batch_size=batch_size, max_new_tokens=max_new_tokens, lengths=lengths)

    def weigh(
        self, rows: Sequence[tuple[Path, str] | Question], said: Sequence[str], *, batch_size: int
    ) -> Iterator[tuple[int, Weight]]:
        """See :class:`Weigher`."""
        yield from self._recogniser.weigh(rows, said, batch_size=batch_size)

    def close(self) -> None:
        """See :class:`Reader`."""
        self._recogniser.close()


def _installed(name: str) -> str:
    for package in (name, f"{name}-gpu"):
        try:
            return version(package)
        except ModuleNotFoundError:
            continue
    return ""


@dataclass(frozen=True)
class Program:
    """A backend that is a process: its program, what makes its environment, and ``reading``, another value of which
    means that answers of before are read anew.
    """

    module: str
    installs: str
    reading: str
    interpreter: Callable[[], Path | None]  # the environment's Python, or None


def _of_vllm() -> Path | None:
    named = os.environ.get(VLLM)
    return Path(named) if named and Path(named).is_file() else None


PROCESSES: Mapping[str, Program] = {
    "transformers": Program(
        "sft.models.transformers_answers",
        "run make torch, which makes its environment",
        "1",
        second_reader.interpreter,
    ),
    "vllm": Program(
        "sft.models.vllm_answers", "it is made for Modal, where the function predict_vllm has it", "1", _of_vllm
    ),
}


def unavailable(backend: str) -> str:
    """Why nothing can be read with it here, and what to do; empty where it can. Nothing is started to find out."""
    program = PROCESSES.get(backend)
    return "" if program is None or program.interpreter() else f"it has no environment here: {program.installs}"


def open_reader(backend: str, model: Path, device: str) -> Weigher:
    """Load a model to read with.

    Args:
        model: a model folder.
        device: "cpu" or "gpu".
    Raises:
        InputError: the backend's environment is not there.
        IntegrityError: the model does not load.
    """
    program = PROCESSES.get(backend)
    if program is None:
        return PaddleReader(model, device)
    python = program.interpreter()
    if python is None:
        said = f"the backend {backend} has no environment here"
        raise InputError(said, where="evaluate.backend", value=backend, remedy=program.installs)
    return ProcessReader(backend, program.module, python, model, device, installs=program.installs)
