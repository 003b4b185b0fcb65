"""Job ``choose_reader``: by which backend all models of a comparison are read.

``auto`` takes transformers where its environment is, and its answers to a few rows of each model are PaddleFormers'.
One backend reads all models of a comparison: what two backends read differently would count as a difference between
two models. So one model on which they disagree decides for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sft.context import Context
from sft.errors import InputError, IntegrityError, JobDied, LeaseHeld
from sft.jobs.base import Job
from sft.jobs.placed import Named, found_model, identity
from sft.jobs.placed_rows import RowsPlace
from sft.jobs.predict import Reading, finished, read_by, read_rows, rows_of_all
from sft.models.held_out import HeldOutRow, kind_of, standing_for
from sft.models.proof import ROWS, described, proof
from sft.models.questions import Answer
from sft.models.readers import OURS, Backend, open_reader, unavailable
from sft.store import records
from sft.store.proofs import Proof, ReadBy

OTHER: Backend = "transformers"
# Rows of a model below which PaddleFormers reads. A proof starts and loads transformers once more (5 s on two cores,
# where the tiny model's rows take 7.4 ms and 2.2 ms): after 1,000 rows that is won back, after 2,000 twice. On a GPU it
# is an estimate that nobody has measured: half a minute to start and load, a tenth of a second saved for each row.
FEWEST = {"cpu": 2000, "gpu": 300}
PROOF = "proof.json"  # beside the backend's answers
AGAIN = 3600.0  # seconds after which a backend that could not read is tried again: the cause may have passed
WAIT = 2.0  # seconds between two looks, while another call compares


def reader_for(args: Reading, models: Sequence[Named], rows: Sequence[HeldOutRow], context: Context) -> ReadBy:
    """Which backend reads all models, by what is kept or, where nothing is, a comparison that is made now and kept.

    Calls that ask side by side are told the same: one of them compares, and the others wait for it. A backend that the
    user has named reads whatever the comparison comes to, which is told.
    Raises:
        IntegrityError: PaddleFormers cannot read with a model; or the named backend cannot.
        InputError: the named backend is not installed.
    """
    if args.backend == OURS:
        return ReadBy(backend=OURS, why="evaluate.backend says so", proofs={})
    if args.backend != "auto":
        return Comparing(args, models, rows, context, args.backend).counted()
    if why := unavailable(OTHER):
        return ReadBy(backend=OURS, why=f"{OTHER}: {why}", proofs={})
    if len(rows) < FEWEST[args.device]:
        return _few(args, len(rows))
    comparing = Comparing(args, models, rows, context, OTHER)
    if (decided := comparing.decided()) is not None:
        return decided
    if (unread := comparing.unread()) < FEWEST[args.device]:
        return _few(args, unread)
    while True:
        with suppress(LeaseHeld), context.lease(comparing.place(models[-1].label, OTHER)):
            return comparing.decided() or comparing.compared()
        time.sleep(WAIT)


def _few(args: Reading, rows: int) -> ReadBy:
    why = f"{rows} rows of a model are to be read: below {FEWEST[args.device]} a comparison costs more than it saves"
    return ReadBy(backend=OURS, why=why, proofs={})


class Comparing:
    """The models of one comparison, each with what has been found out about it."""

    def __init__(
        self, args: Reading, models: Sequence[Named], rows: Sequence[HeldOutRow], context: Context, other: str
    ) -> None:
        self.args, self.context, self.rows, self.other = args, context, rows, other
        self.sample = standing_for(rows, ROWS)
        self.kinds = sorted({kind_of(row) for row in self.sample})
        self.models = {model.label: (model, identity(model, context)) for model in models}

    def place(self, which: str, backend: str) -> Path:
        """Where a backend's answers lie."""
        return self.context.volumes.outputs / self.args.by(backend).place(self.models[which][1])

    def unread(self) -> int:
        """How many rows of a model PaddleFormers has not read, on average."""
        keys = {row.key() for row in self.rows}
        left = [len(keys - finished(self.place(which, OURS)).keys()) for which in self.models]
        return sum(left) // len(left)

    def decided(self) -> ReadBy | None:
        """What the kept comparisons say; None where a model has none."""
        return self._verdict(self._kept())

    def _kept(self) -> dict[str, Proof]:
        """The comparisons that have been made with rows of all kinds that are read now."""
        read = {which: records.read_json(self.place(which, self.other) / PROOF) for which in self.models}
        return {
            which: found
            for which, found in read.items()
            if found and set(self.kinds) <= set(found["kinds"]) and not self._passed_over(found)
        }

    def _passed_over(self, found: Proof) -> bool:
        """Did the backend give no answers? That says nothing of how it reads: it counts for those that ask beside, and
        not for one that the user has chosen.
        """
        lately = time.time() - found.get("finished", 0.0) < AGAIN
        return "failed" in found and (self.args.backend != "auto" or not lately)

    def _verdict(self, proofs: dict[str, Proof]) -> ReadBy | None:
        failed = next((which for which, found in proofs.items() if not found["passed"]), None)
        if failed is not None:
            why = f"{self.other} is not used, because it does not read {failed} alike: {described(proofs[failed])}"
            return ReadBy(backend=OURS, why=why, proofs=proofs)
        if len(proofs) < len(self.models):
            return None
        told = "; ".join(f"{which}: {described(found)}" for which, found in proofs.items())
        return ReadBy(backend=self.other, why=f"it reads like {OURS} ({told})", proofs=proofs)

    def compared(self) -> ReadBy:
        """Compare model after model, until all have been or one has failed; what was found is kept."""
        while (decided := self._verdict(proofs := self._kept())) is None:
            self._compare(next(which for which in self.models if which not in proofs))
        self.context.commit()
        self.context.event("note", text=f"{decided['backend']} reads: {decided['why']}")
        return decided

    def counted(self) -> ReadBy:
        """For a backend that the user has chosen: it reads, and how its answers differ is said."""
        while len(proofs := self._kept()) < len(self.models):
            self._compare(next(which for which in self.models if which not in proofs))
        told = "; ".join(f"{which}: {described(found)}" for which, found in proofs.items())
        return ReadBy(backend=self.other, why=f"evaluate.backend says so ({told})", proofs=proofs)

    def _compare(self, which: str) -> None:
        records.write_json(self.place(which, self.other) / PROOF, self._prove(which))

    def _prove(self, which: str) -> Proof:
        """Both read the sample; what they answer is kept, so that nobody reads it again."""
        rates: dict[str, float] = {}
        device = self.args.device
        ours = self._read(which, OURS, rates)
        try:
            theirs = self._read(which, self.other, rates)
        except (InputError, IntegrityError, JobDied) as error:
            if self.args.backend != "auto":
                raise
            found = proof(self.other, device, self.kinds, {}, {})
            return {**found, "passed": False, "failed": str(error), "finished": time.time()}
        versions = {str(backend): read_by(self.place(which, backend)) for backend in (OURS, self.other)}
        found = proof(self.other, device, self.kinds, ours, theirs)
        return {**found, "rates": rates, "versions": versions, "finished": time.time()}

    def _read(self, which: str, backend: str, rates: dict[str, float]) -> dict[str, Answer]:
        """The sample's answers; how many rows a second were read goes to ``rates``."""
        folder, wanted = self.place(which, backend), {row.key(): row for row in self.sample}
        done = {key: answer for key, answer in finished(folder).items() if key in wanted}
        if missing := {key: row for key, row in wanted.items() if key not in done}:
            with (
                found_model(self.models[which][0].place, self.context) as model,
                closing(open_reader(backend, model, self.args.device)) as reader,
            ):
                started = time.perf_counter()
                done |= read_rows(self.args, self.context, which, reader, folder, missing, total=len(wanted))
                rates[backend] = len(missing) / (time.perf_counter() - started)
        return {key: done[key] for key in wanted}


class ChooseReaderArgs(Reading):
    """The models that are compared, the candidate last, and the rows that they read."""

    models: tuple[Named, ...]
    rows: RowsPlace


def choose_reader(args: ChooseReaderArgs, context: Context) -> dict[str, Any]:
    """See :func:`reader_for`."""
    rows, _ = rows_of_all(args, args.rows, context)
    return dict(reader_for(args, args.models, rows, context))


CHOOSE_READER = Job("choose_reader", ChooseReaderArgs, choose_reader, billed=True)
