"""Job ``read_dev``: one checkpoint of a training reads dev rows, beside the training or after it; its scores are kept.

Where they lie is said in :mod:`sft.store.dev`.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from sft import metrics
from sft.context import Context
from sft.errors import InputError
from sft.jobs.base import Job
from sft.jobs.placed import Named
from sft.jobs.placed_rows import RowsPlace
from sft.jobs.predict import Answering, Reading, rows_of_all
from sft.metrics import Normalisation
from sft.metrics.gate import Metric
from sft.models.heard import judge
from sft.store import contents, records
from sft.store.checkpoints import MANIFEST
from sft.store.contents import DevScore
from sft.store.dev import FOLDER, ROWS, keep, let_go
from sft.store.volumes import run_place
from sft.training.events import EVENTS, Board

FIRST = 32  # rows that each checkpoint reads at least: fewer choose by chance


class ReadDevArgs(Reading):
    """A checkpoint of the training ``identity``: that of ``step``; ``final``: the finished training's model.

    Attributes:
        rows: the dev rows, of which ``max_rows`` are read at most.
        metric: by which the best checkpoint is kept.
        within: how long loading and reading may take (s), where more rows are left out; 0: no matter how long.
    """

    identity: str
    step: int
    final: bool = False
    rows: RowsPlace
    metric: Metric
    within: float = 0.0
    normalise: Normalisation = Normalisation()


def read_dev(args: ReadDevArgs, context: Context) -> DevScore:
    """Read, or return what the same checkpoint came to before.

    Raises:
        InputError: the trainer has removed the checkpoint meanwhile.
        IntegrityError: it is damaged, or does not load.
    """
    began, run = time.monotonic(), context.volumes.run(args.identity)
    place = run / FOLDER / f"step-{args.step}.json"
    if (known := contents.dev_score(place)) is not None:
        return known
    with Answering(args, context, _kept(args, run)) as asked:
        count = _rows_to_read(args, context, run, asked, began)
        rows, every = rows_of_all(args.model_copy(update={"max_rows": count}), args.rows, context)
        said = asked.answers(rows)
    model = "checkpoint"
    judgement = judge(
        rows, {model: [answer.text for answer in said]}, args.normalise, {model: [answer.cut for answer in said]}
    )
    found = DevScore(
        step=args.step,
        final=args.final,
        rows=len(rows),
        of_rows=every,
        documents=judgement.documents,
        scores=judgement.table(model),
        metrics_version=metrics.VERSION,
        seconds=round(time.monotonic() - began, 1),
    )
    total = found["scores"]["all"]
    Board(run / EVENTS / FOLDER, args.step - 1).add(args.step, {"error": total["error"], "cer": total["cer"]})
    records.write_json(place, found)
    let_go(run, args.metric)
    context.commit()
    return found


def _kept(args: ReadDevArgs, run: Path) -> Named:
    """Where the model lies that reads: a copy or link of the checkpoint that the trainer does not remove."""
    label = f"checkpoint-{args.step}"
    if args.final:
        return Named(label=label, place=f"outputs/{run_place(args.identity)}/model")
    try:
        if not (run / FOLDER / label / MANIFEST).is_file():
            keep(run, run / "trainer" / label, bounded=False)
    except FileNotFoundError:
        shutil.rmtree(run / FOLDER / label, ignore_errors=True)
        remedy = "nothing is to be done: later ones are read"
        raise InputError("the checkpoint is no longer there", where=str(run), value=label, remedy=remedy) from None
    return Named(label=label, place=f"outputs/{run_place(args.identity)}/{FOLDER}/{label}")


def _rows_to_read(args: ReadDevArgs, context: Context, run: Path, asked: Answering, began: float) -> int:
    """As many as the first checkpoint can read in time; all checkpoints of a training read the same rows."""
    known = records.read_json(run / FOLDER / ROWS)
    if known is not None:
        return int(known["rows"])
    count, rate = args.max_rows, 0.0
    if args.within:
        few, _ = rows_of_all(args.model_copy(update={"max_rows": min(FIRST, args.max_rows)}), args.rows, context)
        asked.load()
        loaded = time.monotonic()
        asked.answers(few)
        if asked.read == len(few):  # else most answers were kept, and nothing was measured
            rate = (time.monotonic() - loaded) / len(few)
            left = args.within - (loaded - began)
            count = max(len(few), min(args.max_rows, int(left / max(rate, 1e-6))))
    records.write_json(run / FOLDER / ROWS, {"rows": count, "asked": args.max_rows, "seconds_a_row": rate})
    if count < args.max_rows:
        text = (
            f"each checkpoint reads {count} dev rows, not {args.max_rows}: more would take over {args.within:.0f} s, a "
            "tenth of the time between two checkpoints"
        )
        context.event("note", text=text)
    return count


READ_DEV = Job("read_dev", ReadDevArgs, read_dev, billed=True)
