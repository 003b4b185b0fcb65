"""A reader that is a process of another environment: asked and heard by lines of JSON (reader_program.py).

Torch and Paddle do not share a process, and neither does vLLM with either. Answers come batch by batch, so that
whoever keeps them as they come loses one batch when the process is killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sft.errors import InputError, IntegrityError, JobDied
from sft.models.questions import Answer, Question, Weight, question
from sft.models.reader_program import NOT_INSTALLED
from sft.models.second_reader import PROJECT, TAIL
from sft.processes import die_with_parent, without_secrets

KEPT = "run again: what was read before is kept"
ENDS = 30.0  # seconds that a process may take to end once it has failed or is killed
LEAVES = 5.0  # seconds that it may take to end by itself once it is asked nothing more


class ProcessReader:
    """See :class:`sft.models.readers.Reader`.

    Args:
        backend: its name; ``module`` is the program, ``python`` the other environment's interpreter.
        installs: what makes that environment, for an error.
    Raises:
        InputError: the environment lacks its packages.
        IntegrityError: the model does not load there.
        JobDied: the process was killed.
    """

    def __init__(self, backend: str, module: str, python: Path, model: Path, device: str, *, installs: str) -> None:
        self.backend = backend
        self._model, self._installs, self._read = model, installs, 0
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (it is read when the process has failed)
        environment = {**without_secrets(os.environ), "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"}
        environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}  # the folder is all that it needs
        self._process = subprocess.Popen(
            [str(python), "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            preexec_fn=die_with_parent,
        )
        try:
            self._ask(model=str(model), device=device)
            ready = self._hear()["ready"]
        except BaseException:
            self.close()
            raise
        self.versions: Mapping[str, str] = ready["versions"]
        self.device: str = ready["device"]

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def answers(
        self,
        rows: Sequence[tuple[Path, str] | Question],
        *,
        batch_size: int,
        max_new_tokens: int,
        lengths: Sequence[int] = (),
    ) -> Iterator[tuple[int, Answer]]:
        """See :meth:`sft.models.readers.Reader.answers`.

        Raises:
            IntegrityError: the model cannot read them.
            JobDied: the process was killed.
        """
        how = {"batch_size": batch_size, "max_new_tokens": max_new_tokens, "lengths": list(lengths)}
        for number, text, cut in self._told("answers", rows, how):
            yield number, Answer(text, cut)

    def weigh(
        self, rows: Sequence[tuple[Path, str] | Question], said: Sequence[str], *, batch_size: int
    ) -> Iterator[tuple[int, Weight]]:
        """See :meth:`sft.models.readers.Weigher.weigh`.

        Raises:
            IntegrityError: the model cannot read the rows, or weighs no answers.
            JobDied: the process was killed.
        """
        for number, cost, odds in self._told("weights", rows, {"batch_size": batch_size, "said": list(said)}):
            yield number, Weight(cost, odds)

    def _told(
        self, what: str, rows: Sequence[tuple[Path, str] | Question], how: Mapping[str, Any]
    ) -> Iterator[Sequence[Any]]:
        turns = [[[list(map(str, t.images)), t.prompt, t.answer] for t in question(row)] for row in rows]
        self._ask(rows=turns, **how)
        while "done" not in (told := self._hear()):
            for one in told[what]:
                self._read += 1
                yield one

    def close(self) -> None:
        """End the process, also in the middle of its work: nobody asks it more, nobody hears it, and it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdout.close()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(LEAVES)  # vLLM has processes of its own to end
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(ENDS)
        self._log.close()

    def _ask(self, **values: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(values) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise self._died()
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            self._process.wait(ENDS)
            if self._process.returncode == NOT_INSTALLED:
                said = f"the backend {self.backend} cannot start: {told['error'][-TAIL:]}"
                raise InputError(said, where="evaluate.backend", value=self.backend, remedy=self._installs)
            said = f"{self.backend} cannot read with it: {told['error'][-TAIL:]}"
            raise IntegrityError(said, where=str(self._model), remedy="read with evaluate.backend=paddleformers")
        return told

    def _died(self) -> JobDied:
        code = self._process.wait(ENDS)
        self._log.seek(0)
        # A process that was killed had nothing to say: its last line is a progress bar.
        last = self._log.read().decode("utf-8", "replace").strip().splitlines()[-1:] if code > 0 else []
        ended = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return JobDied(
            f"the process that reads with {self.backend} ended {ended} after {self._read} answers",
            value="; ".join(last)[-TAIL:],
            remedy=f"{KEPT}; signal 9 is most often memory: a smaller evaluate.batch_size needs less",
        )
