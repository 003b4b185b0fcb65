"""Runs a trainer's command: reads its output line by line, keeps metrics.jsonl, seals checkpoints, ends with it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from sft import checkpoints
from sft.engines.base import Command, Engine, Progress
from sft.errors import TrainingFailed
from sft.jobs.base import Context
from sft.processes import die_with_parent

TAIL = 15  # lines of the trainer's output that an error shows
GRACE = 3.0  # seconds between SIGTERM and SIGKILL
METRICS = "metrics.jsonl"

# What the trainer's last words mean, and what to change.
_REMEDIES = (
    (
        "out of memory",
        "halve train.batch_size and double train.gradient_accumulation_steps, or lower train.max_seq_len",
    ),
    ("resourceexhausted", "halve train.batch_size and double train.gradient_accumulation_steps"),
    ("no space left", "free room on the outputs volume, or lower train.save_total_limit"),
    ("modulenotfounderror", "the environment of the engine is incomplete: make it anew"),
)


class Trainer:
    """One training's process and what it has told so far."""

    def __init__(self, context: Context, engine: Engine, identity: str, run: Path, lock: list[int]) -> None:
        self.context = context
        self.engine = engine
        self.identity = identity
        self.run_folder = run
        self.lock = lock
        self.last: Progress | None = None
        self.tail: deque[str] = deque(maxlen=200)
        self._losses: list[tuple[int, float]] = []
        self._sealed: set[Path] = set()

    def run(self, command: Command, output: Path, resume_from: Path | None) -> None:
        """Run to the end.

        Raises:
            TrainingFailed: it ended with an error, or its loss is no longer a number.
        """
        start = int(resume_from.name.removeprefix("checkpoint-")) if resume_from else 0
        self._losses = _keep_until(self.run_folder / METRICS, start)
        self._sealed = {path for _, path in checkpoints.listed(output)}
        # Hashing a checkpoint takes seconds; the pipe must be read meanwhile, or the trainer stands still.
        with (self.run_folder / METRICS).open("a") as metrics, ThreadPoolExecutor(max_workers=1) as sealer:
            self._follow(command, lambda line: self._read(line, metrics, output, sealer))
            sealer.submit(self._seal, output, math.inf).result()

    def _follow(self, command: Command, read: Callable[[str], None]) -> None:
        try:
            process = self._start(command)
        except OSError as error:
            remedy = "the environment of the engine is incomplete: sft doctor names what is missing"
            raise TrainingFailed(
                f"the trainer cannot be started: {error}", value=command.argv[0], remedy=remedy
            ) from error
        try:
            assert process.stdout is not None
            for line in process.stdout:
                self.tail.append(line.rstrip())
                self.context.say(line.rstrip())
                read(line)
        except BaseException:
            _end(process)
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()
        if process.wait() != 0:
            raise self._failure(process.returncode)

    def _start(self, command: Command) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command.argv,
            env={**os.environ, **command.environment},
            cwd=self.run_folder / "work",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,
            pass_fds=[*self.lock, *self.context.child_files],
        )

    def _read(self, line: str, metrics: IO[str], output: Path, sealer: ThreadPoolExecutor) -> None:
        progress = self.engine.progress(line)
        if progress is None:
            return
        self.last = progress
        if not math.isfinite(progress.loss):
            raise TrainingFailed(
                "the loss is no longer a number",
                where=f"step {progress.step}",
                value=str(progress.loss),
                remedy="lower train.learning_rate or raise train.warmup_steps, then run again",
            )
        self._losses.append((progress.step, progress.loss))
        metrics.write(json.dumps(progress.as_dict()) + "\n")
        metrics.flush()
        self.context.event("progress", **progress.as_dict())
        # The trainer saves between two steps: once a later step is logged, an earlier checkpoint is complete.
        sealer.submit(self._seal, output, progress.step)

    def _seal(self, output: Path, before: float) -> None:
        for step, path in checkpoints.listed(output):
            if step >= before or path in self._sealed:
                continue
            self._sealed.add(path)
            previous = max((s for s, _ in checkpoints.listed(output) if s < step), default=0)
            losses = [loss for at, loss in list(self._losses) if previous < at <= step]
            try:
                mean = sum(losses) / len(losses) if losses else None
                checkpoints.seal(path, self.identity, self.engine.name, step, mean)
            except OSError:
                continue  # the trainer's own limit removed it meanwhile
            self.context.commit()
            self.context.event("checkpoint", step=step)

    def _failure(self, code: int) -> TrainingFailed:
        told = [line for line in self.tail if "DEBUG" not in line and line.strip()][-TAIL:]
        text = "\n".join(told)
        found = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        remedy = next((advice for words, advice in _REMEDIES if words in text.lower()), "see the last lines above")
        return TrainingFailed(f"the trainer ended with an error; its last lines:\n{text}\n", value=found, remedy=remedy)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _keep_until(path: Path, step: int) -> list[tuple[int, float]]:
    """Drop the lines of metrics.jsonl past ``step``, which a resumed training writes again; returns the rest."""
    kept = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                values = json.loads(line)
            except ValueError:
                continue  # torn by a kill
            if values["step"] <= step:
                kept.append(values)
    path.write_text("".join(json.dumps(values) + "\n" for values in kept))
    return [(values["step"], values["loss"]) for values in kept]
