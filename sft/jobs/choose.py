"""Job ``choose``: the checkpoint that read the dev rows best becomes the training's model. Made once for a training."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.errors import IntegrityError
from sft.jobs.base import Job
from sft.jobs.placed import found_model
from sft.metrics.gate import Metric
from sft.models import export
from sft.store import champions, checkpoints, contents, records
from sft.store.contents import Chosen, Training
from sft.store.dev import FOLDER, as_point, best, scores
from sft.store.volumes import run_place

ADAPTER = "adapter"  # in a training's folder: the chosen checkpoint's, where it is not the last step's
NEW, LAST = "model.chosen", "model.last"  # beside the model, while one takes the other's place


class ChooseArgs(BaseModel):
    """The training ``identity``, and the ``metric`` by which its checkpoints are compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str
    metric: Metric


def choose(args: ChooseArgs, context: Context) -> Training:
    """Choose, or return the record of the training where it has been chosen before.

    Returns: the training's record, with ``chosen``; its ``model`` is the chosen one.
    Raises:
        IntegrityError: the training has not finished, none of its checkpoints was read, or the best is not whole.
        LeaseHeld: another call works on the training.
    """
    run = context.volumes.run(args.identity)
    with context.lease(run) as held:
        record = contents.training(run)
        if record is None:
            raise IntegrityError("the training has not finished", where=str(run), remedy="run the flow")
        _take_back(run, record)
        if record.get("chosen") is not None:
            return record
        found = scores(run)
        if not found:
            remedy = "run the flow: its step choose reads them"
            raise IntegrityError("no checkpoint has read the dev rows", where=str(run / FOLDER), remedy=remedy)
        first = best(found, args.metric)
        chosen = Chosen(
            step=first["step"], metric=args.metric, rows=first["rows"], of_rows=first["of_rows"], kept="", scores=[]
        )
        chosen["scores"] = [as_point(one) for one in found]
        held.check()
        if first["step"] != record["steps"]:
            if (line := _in_service(args.identity, context)) is not None:
                chosen["kept"] = f"the model of the last step is the champion of {line} already, and stays"
            else:
                record = _swap(run, record, first["step"], args, context)
        record["chosen"], record["best_checkpoint"] = chosen, None  # the model is the best one's; none is copied beside
        records.write_record(run, record)
        shutil.rmtree(run / LAST, ignore_errors=True)
        for _, folder in checkpoints.listed(run / FOLDER):
            shutil.rmtree(folder)
        context.commit()
        return record


def _in_service(identity: str, context: Context) -> str | None:
    """The line that this training is the champion of."""
    for folder in champions.lines(context.volumes.outputs):
        now = champions.read(folder)
        if now is not None and now.identity == identity:
            return now.name
    return None


def _swap(run: Path, record: Training, step: int, args: ChooseArgs, context: Context) -> Training:
    """Put the checkpoint's model in the place of the last step's; the record that names it is written by the caller."""
    place = f"outputs/{run_place(args.identity)}/{FOLDER}/checkpoint-{step}"
    base = context.volumes.models / record["base_model"]
    if record["spec"].get("lora_rank"):  # the check of the export puts the adapter on the base again
        shutil.rmtree(run / ADAPTER, ignore_errors=True)
        shutil.copytree(run / FOLDER / f"checkpoint-{step}", run / ADAPTER)
    with found_model(place, context) as whole:
        export.assemble(sorted(whole.glob(export.WEIGHTS)), base, run / NEW, move=False)
        for path in (run / NEW).glob(export.WEIGHTS):
            if path.is_symlink():  # the checkpoint goes
                source = path.resolve()
                path.unlink()
                shutil.copyfile(source, path)
    model = records.manifest(run / NEW)
    (run / "model").rename(run / LAST)
    (run / NEW).rename(run / "model")
    return {**record, "model": model, "model_identity": records.manifest_hash(model)}


def _take_back(run: Path, record: Training) -> None:
    """What a call that died in the middle has left: the record names the model that counts."""
    shutil.rmtree(run / NEW, ignore_errors=True)
    if not (run / LAST).is_dir():
        return
    if record.get("chosen") is None:
        shutil.rmtree(run / "model", ignore_errors=True)
        (run / LAST).rename(run / "model")
    else:
        shutil.rmtree(run / LAST)


CHOOSE = Job("choose", ChooseArgs, choose)
