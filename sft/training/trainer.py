"""Runs a trainer's command: what it says becomes curve, counts and events, its checkpoints are sealed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from pathlib import Path

from sft.context import Context
from sft.dataset.dropped import LeftOut
from sft.engines.base import Command, Engine, Progress
from sft.errors import JobDied, TrainingFailed
from sft.store import checkpoints
from sft.store.lease import Held
from sft.training import failures
from sft.training.curve import Curve
from sft.training.effective import Effective
from sft.training.process import Process
from sft.training.sealing import Sealer

KEPT = 200  # lines of the trainer's output


class Trainer:
    """One training and what it has told so far."""

    def __init__(
        self,
        context: Context,
        engine: Engine,
        identity: str,
        run: Path,
        held: Held,
        *,
        stall_seconds: float = math.inf,
        smaller: str = "",
        left_out: LeftOut | None = None,
        effective: Effective | None = None,
        keep: Callable[[Path], object] | None = None,
    ) -> None:
        self.context = context
        self.engine = engine
        self.identity = identity
        self.run_folder = run
        self.held = held
        self.stall_seconds = stall_seconds
        self.smaller = smaller or "train in smaller batches"
        self.left_out = left_out or LeftOut(engine.left_out, rows=1, bound=math.inf)
        self.effective = effective
        self.keep = keep
        self.curve = Curve(run)
        self.tail: deque[str] = deque(maxlen=KEPT)

    @property
    def last(self) -> Progress | None:
        """What the trainer told last; None before its first step."""
        return self.curve.last

    def run(self, command: Command, output: Path, resume_from: Path | None) -> None:
        """Run to the end.

        Raises:
            TrainingFailed: it ended with an error, or its loss is no longer a number.
            JobDied: its native code crashed.
            LeaseHeld: another call has taken the lease over; the trainer is stopped.
        """
        self.curve.begin(checkpoints.step_of(resume_from))
        name = self.engine.name
        sealer = Sealer(self.context, self.held, self.run_folder, output, self.identity, name, self.curve, self.keep)
        with sealer:
            inherited = [*self.held.descriptors, *self.context.child_files]
            process = Process(command, self.run_folder / "work", inherited, self.stall_seconds)
            try:
                code = process.follow(lambda line: self._read(line, process, sealer), self._another_training)
            except BaseException:
                if process.ended_by_itself:  # all its checkpoints are whole
                    sealer.rest()
                raise
            if code != 0:
                raise self._stalled() if process.stalled else self._failure(code)
            sealer.rest()
            sealer.check()

    def take_up(self, step: int) -> None:
        """Nothing is left to train behind ``step``."""
        self.curve.take_up(step)

    def _another_training(self) -> bool:
        """Is it not the training that was asked for? A checkpoint of it would be resumed from."""
        return self.effective is not None and self.effective.difference is not None

    def _read(self, line: str, process: Process, sealer: Sealer) -> None:
        self.tail.append(line)
        self.context.say(line)
        if self.effective is not None:
            self.effective.read(line)
        progress = self.engine.progress(line)
        if progress is None:
            self._count_left_out(line)
        else:
            self.left_out.packed(line)
            if self.effective is not None:
                self.effective.progress(progress)
            process.seen()
            self.curve.add(progress)
            self.context.event("progress", **progress.as_dict())
            sealer.before(progress.step)
        sealer.check()

    def _count_left_out(self, line: str) -> None:
        step = self.curve.step
        if self.left_out.read(line, step) and self.left_out.times.bit_count() == 1:  # told at 1, 2, 4, 8, …
            self.context.event("left-out", **self.left_out.as_dict(step))

    def _stalled(self) -> TrainingFailed:
        return TrainingFailed(
            "the trainer made no progress",
            where=self.curve.where,
            value=f"for {self.stall_seconds / 60:.1f} min",
            remedy="run again to resume; where steps take longer, raise train.stall_minutes",
        )

    def _failure(self, code: int) -> TrainingFailed | JobDied:
        return failures.failure(self.tail, code, self.curve.where, self.smaller)
