"""Runs a trainer's command: reads its output line by line, keeps metrics.jsonl, seals checkpoints, ends with it."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

from sft.context import Context
from sft.dataset.dropped import LeftOut
from sft.engines.base import Command, Engine, Progress
from sft.errors import JobDied, JobError, TrainingFailed, TransientError
from sft.processes import END_NOW, guarded, without_secrets
from sft.store import checkpoints
from sft.training import failures
from sft.training.effective import Effective
from sft.training.events import EVENTS, Board

TAIL = 15  # lines of the trainer's output that an error shows
SEARCHED = 60  # lines that are searched for what they mean: a launcher adds its own at the end
GRACE = 4.5  # seconds between SIGTERM and SIGKILL: the trainer may save a checkpoint in them
DIVERGED = 20  # progress lines whose mean loss is compared with the best mean of as many
TIMES = 2.0  # how much worse that may be
ROOM = 1.5  # checkpoints that must have room on the volume
METRICS = "metrics.jsonl"


class Trainer:
    """One training's process and what it has told so far."""

    def __init__(
        self,
        context: Context,
        engine: Engine,
        identity: str,
        run: Path,
        lock: list[int],
        *,
        stall_seconds: float = math.inf,
        smaller: str = "",
        left_out: LeftOut | None = None,
        effective: Effective | None = None,
    ) -> None:
        self.context = context
        self.engine = engine
        self.identity = identity
        self.run_folder = run
        self.lock = lock
        self.last: Progress | None = None
        self.tail: deque[str] = deque(maxlen=200)
        self.stall_seconds = stall_seconds
        self.smaller = smaller or "train in smaller batches"
        self.left_out = left_out or LeftOut(engine.left_out, rows=1, bound=math.inf)
        self.effective = effective
        self.ended_by_itself = False
        self.watch_progress: Callable[[], None] = lambda: None
        self._losses: list[tuple[int, float]] = []
        self._sealed: set[Path] = set()
        self._full: list[TrainingFailed] = []
        self._events: Board

    def run(self, command: Command, output: Path, resume_from: Path | None) -> None:
        """Run to the end.

        Raises:
            TrainingFailed: it ended with an error, or its loss is no longer a number.
            JobDied: its native code crashed.
        """
        start = checkpoints.step_of(resume_from)
        self._losses = _keep_until(self.run_folder / METRICS, start)
        self._sealed = {path for _, path in checkpoints.listed(output)}
        # Hashing a checkpoint takes seconds; the pipe must be read meanwhile, or the trainer stands still.
        board = self.run_folder / EVENTS
        with (
            (self.run_folder / METRICS).open("a") as metrics,
            Board(board, start) as events,
            ThreadPoolExecutor(1) as sealer,
        ):
            self._events = events
            try:
                self._follow(command, lambda line: self._read(line, metrics, output, sealer))
            except BaseException:
                if self.ended_by_itself:  # asked to stop, it saved a checkpoint and left: all of them are whole
                    sealer.submit(self._seal, output, math.inf).result()
                raise
            sealer.submit(self._seal, output, math.inf).result()
        if self._full:
            raise self._full[0]

    def take_up(self, step: int) -> None:
        """Nothing is left to train behind ``step``: the curve ends there, and its last line is the last progress."""
        metrics = self.run_folder / METRICS
        self._losses = _keep_until(metrics, step)
        if lines := metrics.read_text().splitlines():
            self.last = Progress(**json.loads(lines[-1]))

    def _follow(self, command: Command, read: Callable[[str], None]) -> None:
        try:
            process = self._start(command)
        except OSError as error:
            remedy = "the environment of the engine is incomplete: sft doctor names what is missing"
            raise TrainingFailed(
                f"the trainer cannot be started: {error}", value=command.argv[0], remedy=remedy
            ) from error
        watch = Watch(process, self.stall_seconds)
        self.watch_progress = watch.seen
        try:
            assert process.stdout is not None
            for line in process.stdout:
                self.tail.append(line.rstrip())
                self.context.say(line.rstrip())
                read(line)
                if self._full:
                    raise self._full[0]
        except BaseException:
            if self.effective is not None and self.effective.difference is not None:
                process.send_signal(END_NOW)  # a checkpoint of this would be resumed from
            self.ended_by_itself = _end(process, read)
            raise
        finally:
            watch.stop()
            if process.stdout is not None:
                process.stdout.close()
        if process.wait() != 0:
            raise self._stalled() if watch.struck else self._failure(process.returncode)

    def _start(self, command: Command) -> subprocess.Popen[str]:
        environment = {**without_secrets(os.environ), **command.environment}  # ERNIEKit prints all of it
        if shutil.which(command.argv[0], path=environment.get("PATH")) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command.argv[0])
        return subprocess.Popen(
            guarded(command.argv, GRACE),
            env=environment,
            cwd=self.run_folder / "work",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=[*self.lock, *self.context.child_files],
        )

    def _read(self, line: str, metrics: IO[str], output: Path, sealer: ThreadPoolExecutor) -> None:
        if self.effective is not None:
            self.effective.read(line)
        progress = self.engine.progress(line)
        if progress is None:
            step = self.last.step if self.last else 0
            if self.left_out.read(line, step) and self.left_out.times.bit_count() == 1:  # told at 1, 2, 4, 8, …
                self.context.event("left-out", **self.left_out.as_dict(step))
            return
        self.left_out.packed(line)
        if self.effective is not None:
            self.effective.progress(progress)
        self.last = progress
        self.watch_progress()
        if not math.isfinite(progress.loss):
            raise TrainingFailed(
                "the loss is no longer a number",
                where=f"step {progress.step}",
                value=str(progress.loss),
                remedy=failures.LEARNING_RATE,
            )
        self._losses.append((progress.step, progress.loss))
        self._check_divergence(progress.step)
        metrics.write(json.dumps(progress.as_dict()) + "\n")
        metrics.flush()
        self._events.add(progress.step, {"loss": progress.loss, "learning_rate": progress.learning_rate})
        self.context.event("progress", **progress.as_dict())
        # The trainer saves between two steps: once a later step is logged, an earlier checkpoint is complete.
        sealer.submit(self._seal, output, progress.step)

    def _seal(self, output: Path, before: float) -> None:
        for step, path in checkpoints.listed(output):
            if step >= before or path in self._sealed:
                continue
            previous = max((s for s, _ in checkpoints.listed(output) if s < step), default=0)
            losses = [loss for at, loss in list(self._losses) if previous < at <= step]
            try:
                mean = sum(losses) / len(losses) if losses else None
                checkpoints.seal(path, self.identity, self.engine.name, step, mean)
                checkpoints.keep_best(self.run_folder / "best", output)
            except OSError as error:  # the trainer's own limit removed it meanwhile; or it is tried again
                self.context.say(f"{path.name} was not sealed: {error}")
                continue
            self._sealed.add(path)
            self._commit(path.name, step)
            self._check_room(path)

    def _commit(self, name: str, step: int) -> None:
        """A refused commit ends no training: the next one takes all with it, and only the last one has to succeed."""
        try:
            self.context.commit()
        except TransientError as error:
            self.context.event("note", text=f"{name} is not durable yet; the training goes on. {error}")
        else:
            self.context.event("checkpoint", step=step)

    def _check_room(self, checkpoint: Path) -> None:
        """The next checkpoint must fit: a volume that fills up while one is written tears it."""
        size = sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
        free = shutil.disk_usage(checkpoint.parent).free
        if free < ROOM * size:
            self._full.append(
                TrainingFailed(
                    "the outputs volume is nearly full",
                    where=str(checkpoint.parent),
                    value=f"{free >> 20} MiB free, a checkpoint has {size >> 20} MiB",
                    remedy="free room (old runs), or lower train.save_total_limit; run again to resume",
                )
            )

    def _check_divergence(self, step: int) -> None:
        losses = [loss for _, loss in self._losses]
        if len(losses) % DIVERGED or len(losses) < 2 * DIVERGED:
            return
        means = [sum(losses[i : i + DIVERGED]) / DIVERGED for i in range(0, len(losses), DIVERGED)]
        if means[-1] > TIMES * min(means) and means[-1] > means[0]:
            raise TrainingFailed(
                "the loss diverges",
                where=f"step {step}",
                value=f"mean {means[-1]:.3f} of the last {DIVERGED} lines, {min(means):.3f} at best",
                remedy=failures.LEARNING_RATE,
            )

    def _stalled(self) -> TrainingFailed:
        last = f"step {self.last.step}" if self.last else "no step"
        return TrainingFailed(
            "the trainer made no progress",
            where=last,
            value=f"for {self.stall_seconds / 60:.1f} min",
            remedy="run again to resume; where steps take longer, raise train.stall_minutes",
        )

    def _failure(self, code: int) -> JobError:
        """What became of it: a crash of native code without a known reason is a death, after which a run resumes."""
        told = [line for line in self.tail if "DEBUG" not in line and line.strip()]
        found = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        meaning, remedy = failures.explain("\n".join(told[-SEARCHED:]), code, self.smaller)
        text = "\n".join(told[-TAIL:])
        kind = JobDied if meaning == failures.CRASHED else TrainingFailed
        return kind(
            f"{meaning or 'the trainer ended with an error'}; its last lines:\n{text}\n",
            where=f"step {self.last.step}" if self.last else "no step",
            value=found,
            remedy=remedy,
        )


class Watch:
    """Kills a process that makes no progress. ``seen`` is called whenever it made some."""

    def __init__(self, process: subprocess.Popen[str], seconds: float) -> None:
        self.struck = False
        self._process, self._seconds = process, seconds
        self._last = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def seen(self) -> None:
        """There was progress just now."""
        self._last = time.monotonic()

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(min(1.0, self._seconds / 4)):
            if time.monotonic() - self._last > self._seconds:
                self.struck = True
                self._process.send_signal(END_NOW)
                return


def _end(process: subprocess.Popen[str], read: Callable[[str], None]) -> bool:
    """Ask the trainer to end; its guard makes it, with all its processes. True if it ended by itself.

    What it still says is read: the steps up to the checkpoint that it saves, and nobody writes into a full pipe.
    """
    process.terminate()
    reader = threading.Thread(target=_read_rest, args=(process, read), daemon=True)
    reader.start()
    try:
        return process.wait() == 0
    finally:
        reader.join(1.0)


def _read_rest(process: subprocess.Popen[str], read: Callable[[str], None]) -> None:
    if process.stdout is None:
        return
    with suppress(TrainingFailed, OSError, ValueError):  # it is being stopped already
        for line in process.stdout:
            read(line)


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
