"""Job ``train``: one training per identity, resumed from the newest verified checkpoint, its result written last."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.dataset.dropped import LeftOut
from sft.dataset.pictures import Converter
from sft.engines import ENGINES, paths
from sft.engines.base import Engine, Folders, TrainSpec
from sft.errors import IntegrityError, TrainingFailed
from sft.jobs.base import Job
from sft.jobs.placed import ORIGIN
from sft.jobs.placed_rows import DatasetPlace
from sft.jobs.train_rows import engine_rows, training_rows
from sft.models import export, lora
from sft.models.weights import torn
from sft.store import checkpoints, contents, dev, records
from sft.store.contents import Training
from sft.store.lease import Held
from sft.store.volumes import REMOVING
from sft.training import failures, kept, parity
from sft.training.effective import Effective
from sft.training.trainer import Trainer

MINUTES = 60  # seconds
STATE = "trainer_state.json"  # what the trainer says of itself at its end
STOP = "stop.json"  # in a training's folder: why it ends at its newest checkpoint, whatever is left of its steps
_RESULT = (export.WEIGHTS, "peft_model*", lora.CONFIG, STATE)  # of what a trainer leaves at its end


class TrainArgs(BaseModel):
    """``identity`` is the fingerprint of all that changes the result; ``base_model`` a folder on the models volume.

    ``start_from`` is the training (its identity) whose model is trained on; empty: the base model. ``gpu`` is what the
    call is billed as, for its note of what it has used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str
    name: str
    engine: str
    spec: TrainSpec
    dataset: DatasetPlace
    base_model: str
    start_from: str = ""
    resume: str = "auto"
    family: str = ""  # of sft.families; empty: not known to who asks
    gpu: str = "cpu"


def train(args: TrainArgs, context: Context) -> Training:
    """Train, or return the record of the training that has finished already.

    Returns: the run's record; see :func:`_record`.
    Raises:
        LeaseHeld: another call trains the same identity, or has taken the lease over.
        TransientError: other machines cannot be reached.
        TrainingFailed: the trainer ended with an error.
        IntegrityError: the base model, the named checkpoint or the trained model is not whole.
    """
    run = context.volumes.run(args.identity)
    if (record := contents.training(run)) is not None:
        return record
    with context.lease(run) as held:
        if (record := contents.training(run)) is not None:  # finished while this call waited
            return record
        with context.metered("train", args.gpu, args.identity):
            return _train(args, context, run, held)


def _train(args: TrainArgs, context: Context, run: Path, held: Held) -> Training:
    started = time.time()
    (run / REMOVING).unlink(missing_ok=True)  # what a cleanup that was killed has left of it is trained anew
    context.event("start", run=run.name, steps=args.spec.max_steps, engine=args.engine)
    engine, converter = ENGINES[args.engine], Converter(context.scratch(run / "work" / "pictures"))
    folders, rows = _prepare(args, run, context, converter)
    resume_from = checkpoints.choose(folders.output, args.resume, args.identity, engine.checkpoint_problems)
    if resume_from is not None:
        context.event("resume", checkpoint=resume_from.name)
    stall, smaller = args.spec.stall_minutes * MINUTES, failures.smaller(args.spec)
    left_out = LeftOut(
        engine.left_out,
        rows,
        args.spec.dropped_rows,
        rows_per_pass=args.spec.batch_size,
        passes_per_step=args.spec.gradient_accumulation_steps,
    )
    work = folders.config.parent
    command = engine.command(args.spec, folders.told(work), resume_from and paths.told(resume_from, work))
    asked = {**command.config, **command.printed}
    trainer = Trainer(
        context,
        engine,
        args.identity,
        run,
        held,
        stall_seconds=stall,
        smaller=smaller,
        left_out=left_out,
        keep=partial(dev.keep, run, bounded=context.shared is None) if args.dataset.has_dev else None,
        effective=Effective(asked, engine.explained, args.spec, checkpoints.step_of(resume_from)),
    )
    folders.config.write_text(yaml.safe_dump(dict(command.config), sort_keys=False))
    (folders.output / STATE).unlink(missing_ok=True)  # an earlier call's would say that this one came to the end
    stop = (records.read_json(run / STOP) or {}) if resume_from is not None else {}
    steps = checkpoints.step_of(resume_from) if stop else args.spec.max_steps
    if resume_from is not None and checkpoints.step_of(resume_from) >= steps:
        # An earlier call died behind its last checkpoint, or was stopped there for good. A trainer that is started
        # there trains one step more.
        trainer.take_up(checkpoints.step_of(resume_from))
        _take_out(resume_from, folders.output)
    else:
        if resume_from is None:
            base = context.volumes.models / args.base_model
            looks = context.volumes.outputs / kept.PLACE
            said = parity.before(engine, args.spec, folders, base, args.family, looks=looks, card=args.gpu)
            context.event("note", text=said)
        trainer.run(command, folders.output, resume_from)
    if not stop:
        _check_last_step(args, folders, trainer)
    engine.export(args.spec, folders)
    model = _collect_model(args, engine, folders, run, context.volumes.models / args.base_model)
    record = _record(args, engine, trainer, model, run, started, resume_from)
    record["call_id"], record["pictures"] = context.call_id, dict(converter.done)
    converter.remove()
    if stop:
        record["stopped"], record["steps"] = str(stop["why"]), steps
        record["left_out"] = trainer.left_out.as_dict(steps)
    record["fence"] = held.fence
    held.check()
    records.write_record(run, record)
    context.commit()
    return record


def _prepare(args: TrainArgs, run: Path, context: Context, converter: Converter) -> tuple[Folders, int]:
    """Check the base model and write the training set in the engine's format, with absolute image paths; (where the
    trainer reads and writes, rows).
    """
    base = _starting_point(args, context)
    work = run / "work"
    work.mkdir(parents=True, exist_ok=True)
    # Whoever reads with a checkpoint of this training, also before it has a record, needs what it is put together with.
    records.write_json(run / ORIGIN, {"base_model": args.base_model, "start_from": args.start_from})
    form = ENGINES[args.engine].dataset_format
    train_file = work / f"train.{form}.jsonl"
    rows, unpacked = 0, context.unpacked

    def seen(names: list[str]) -> list[str]:
        files = unpacked.paths(names)
        return files if args.dataset.odd == 0 else converter.paths(files)

    with train_file.open("wb") as file:
        for row in engine_rows(training_rows(args.dataset, context), form, seen):
            file.write(row + b"\n")
            rows += 1
    if unpacked.count:
        how = f"{unpacked.count:,} images ({unpacked.size / 1e6:,.0f} MB) in {unpacked.seconds:.1f} s"
        context.event("note", text=f"packed images are unpacked to this machine's disk for the training: {how}")
    if converter.done:
        context.event("pictures", done=dict(converter.done))
    return Folders(base, train_file, run / "trainer", run / "logs", work / "train.yaml"), rows


def _starting_point(args: TrainArgs, context: Context) -> Path:
    """The model that is trained on: the base, or an earlier training's.

    Raises:
        IntegrityError: it is not there, or not whole.
    """
    base = context.volumes.models / args.base_model
    if records.read_record(base) is None:  # its small files go into the model, whatever is trained on
        remedy = "run the flow: its step ensure-base-model fetches the model"
        raise IntegrityError("the base model is not on the models volume", where=str(base), remedy=remedy)
    if args.start_from:
        run = context.volumes.run(args.start_from)
        record = contents.training(run)
        if record is None or records.broken_files(run / "model", record["model"]):
            remedy = "sft rollback goes back to the champion before; base_model.start=base starts from the base"
            raise IntegrityError("the model to start from is not whole", where=str(run / "model"), remedy=remedy)
        return run / "model"
    return base


def _take_out(checkpoint: Path, output: Path) -> None:
    """Put the checkpoint of the last step where the trainer saves its result: the same weights, or the adapter's."""
    for pattern in _RESULT:
        for path in output.glob(pattern):
            path.unlink()  # what the call that died has begun to save
        for path in checkpoint.glob(pattern):
            shutil.copyfile(path, output / path.name)


def _check_last_step(args: TrainArgs, folders: Folders, trainer: Trainer) -> None:
    """The trainer's own state says how far it came: its last progress line may lie logging_steps before the end.

    Raises:
        TrainingFailed: it ended, without an error, before the last step.
    """
    state = records.read_json(folders.output / STATE) or {}
    logged = trainer.last.step if trainer.last else 0
    reached = max(int(state.get("global_step", 0)), logged)
    if reached < args.spec.max_steps:
        raise TrainingFailed(
            "the trainer ended without an error before the last step",
            value=f"step {reached} of {args.spec.max_steps}",
            remedy="see the log; run again to resume from the newest checkpoint",
        )


def _collect_model(args: TrainArgs, engine: Engine, folders: Folders, run: Path, base: Path) -> records.Manifest:
    """Make ``model/`` of the weights that the trainer saved at the end and the base's small files.

    What else the trainer wrote stays in its own folder. Returns the model's manifest.

    Raises:
        IntegrityError: a weights file is missing or torn.
    """
    source = engine.model_folder(args.spec, folders)
    weights = sorted(source.glob(export.WEIGHTS))
    problems = [text for path in weights if (text := torn(path))]
    if problems or not weights:
        found = "; ".join(problems) or "no weights"
        remedy = "run again: the training resumes from its newest checkpoint"
        raise IntegrityError("the trainer's model is not whole", where=str(source), value=found, remedy=remedy)
    export.assemble(weights, base, run / "model", move=True)
    return records.manifest(run / "model")


def _record(
    args: TrainArgs,
    engine: Engine,
    trainer: Trainer,
    model: records.Manifest,
    run: Path,
    started: float,
    resume_from: Path | None,
) -> Training:
    best = checkpoints.best(run / "trainer")
    return {
        "identity": args.identity,
        "name": args.name,
        "engine": engine.name,
        "engine_version": engine.version,
        "spec": args.spec.model_dump(mode="json"),
        "dataset": args.dataset.fingerprint,
        "base_model": args.base_model,
        "start_from": args.start_from,
        "steps": args.spec.max_steps,
        "left_out": trainer.left_out.as_dict(args.spec.max_steps),
        "loss": trainer.last.loss if trainer.last else None,
        "seconds": round(time.time() - started, 1),
        "finished": time.time(),
        "resumed_from": resume_from.name if resume_from else None,
        "best_checkpoint": best.name if best else None,
        "model": model,
        "model_identity": records.manifest_hash(model),
    }


TRAIN = Job("train", TrainArgs, train)
