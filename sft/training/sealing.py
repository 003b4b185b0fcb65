"""Seals a trainer's finished checkpoints, makes them durable, and looks whether this disk has room for the next one."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from sft.context import Context
from sft.errors import LeaseHeld, TrainingFailed, TransientError
from sft.store import checkpoints
from sft.store.lease import Held
from sft.store.sparing import Sparingly
from sft.training.curve import Curve

ROOM = 1.5  # checkpoints that must have room on the volume


class Sealer:
    """Works in a thread of its own: hashing takes seconds, and the trainer's pipe must be read meanwhile.

    Args:
        held: the training's lease, which is asked for before each seal.
        run: the training's folder; ``output`` is the trainer's own in it.
        identity, engine: what the checkpoints' manifests say.
        keep: keeps what is wanted of a sealed checkpoint where the trainer's own rotation does not reach; without it
            the one with the lowest loss is kept.
    """

    def __init__(
        self,
        context: Context,
        held: Held,
        run: Path,
        output: Path,
        identity: str,
        engine: str,
        curve: Curve,
        keep: Callable[[Path], object] | None = None,
    ) -> None:
        self._keep = keep or (lambda checkpoint: checkpoints.keep_best(run / "best", output))
        self._held = held
        self._context, self._run, self._output, self._curve = context, run, output, curve
        self._identity, self._engine = identity, engine
        self._sealed = {path for _, path in checkpoints.listed(output)}
        self._full: TrainingFailed | None = None
        self._refused = 0  # the newest step whose commit was refused
        self._not_durable: list[int] = []  # steps of checkpoints that are sealed
        # A commit takes as long as its data, and the trainer's own reads and writes meanwhile.
        self._commit_sparingly = Sparingly(self._commit, least=0.0)
        self._thread = ThreadPoolExecutor(1)

    def before(self, step: int) -> None:
        """A trainer saves between two steps: once ``step`` is told, an earlier checkpoint is complete."""
        self._thread.submit(self._seal, step)

    def rest(self) -> None:
        """The trainer has ended by itself: all are complete. Returns when they are sealed."""
        self._thread.submit(self._seal, math.inf).result()

    def check(self) -> None:
        """To be asked between two steps.

        Raises:
            LeaseHeld: another call has taken the lease over.
            TrainingFailed: the volume has no room for the next checkpoint.
        """
        self._held.told()
        if self._full is not None:
            raise self._full

    def __enter__(self) -> Sealer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def _seal(self, before: float) -> None:
        for step, path in checkpoints.listed(self._output):
            if step >= before or path in self._sealed:
                continue
            previous = max((s for s, _ in checkpoints.listed(self._output) if s < step), default=0)
            try:
                self._held.check(patience=0)
                checkpoints.seal(path, self._identity, self._engine, step, self._curve.mean(previous, step))
                self._keep(path)
            except LeaseHeld:
                return  # check() raises it
            except (OSError, TransientError) as error:  # the trainer's limit removed it meanwhile; or it is tried again
                self._context.say(f"{path.name} was not sealed: {error}")
                continue
            self._sealed.add(path)
            self._not_durable.append(step)
            self._check_room(path)
        if self._not_durable:
            self._commit() if before == math.inf else self._commit_sparingly()

    def _commit(self) -> None:
        """A refused commit ends no training: the next one takes all with it, and only the last one has to succeed."""
        try:
            (self._context.try_commit or self._context.commit)()
        except TransientError as error:
            newest = max(self._not_durable)
            if newest != self._refused:  # it is tried again and again, and said once
                self._refused = newest
                text = f"checkpoint-{newest} is not durable yet; the training goes on. {error}"
                self._context.event("note", text=text)
            return
        for step in self._not_durable:
            self._context.event("checkpoint", step=step)
        self._not_durable.clear()

    def _check_room(self, checkpoint: Path) -> None:
        """The next checkpoint must fit: a disk that fills up while one is written tears it.

        A volume of Modal's has no fixed size, and what it says of its room are placeholders
        (modal.com/docs/guide/volumes, "Disk usage reporting"): it is not asked.
        """
        if self._context.shared is not None:
            return
        size = sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
        free = shutil.disk_usage(checkpoint.parent).free
        if free < ROOM * size:
            self._full = TrainingFailed(
                "the outputs volume is nearly full",
                where=str(checkpoint.parent),
                value=f"{free >> 20} MiB free, a checkpoint has {size >> 20} MiB",
                remedy="free room (old runs), or lower train.save_total_limit; run again to resume",
            )
