"""Job ``check_export``: a new process loads the saved model and must give the answers that were evaluated.

So must a reader that nobody here wrote, where there is one: transformers (see :mod:`sft.models.second_reader`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from sft.context import Context
from sft.errors import IntegrityError
from sft.jobs.base import Job
from sft.jobs.choose import ADAPTER
from sft.jobs.evaluate import EvaluateArgs
from sft.jobs.predict import finished, rows_of_all
from sft.models import export, lora, second_reader
from sft.models.held_out import HeldOutRow
from sft.models.proof import REPRODUCED, same
from sft.models.readers import OURS
from sft.report import put_export
from sft.store import contents, records
from sft.store.contents import Export, Second, Training
from sft.store.volumes import run_place


class CheckExportArgs(EvaluateArgs):
    """``rows`` held-out rows are read again, spread over the set."""

    rows: int = Field(32, ge=1)

    def check_folder(self, model_identity: str) -> str:
        """Where the check's record lies, relative to the training's folder."""
        return f"export/{self.key(model_identity)}"


def check_export(args: CheckExportArgs, context: Context) -> Export:
    """Check the candidate's model, or return the record of the same check done before.

    Returns: ``{"problems": [...], "rows", "equal", "transformers": {...}, "seconds"}``; a broken export is a result, no
    error. See :func:`_second` for what transformers came to.
    Raises:
        IntegrityError: the training or its evaluation has no record.
    """
    run = context.volumes.outputs / run_place(args.identity)
    training = contents.training(run)
    judged = contents.evaluation(run / args.folder(training["model_identity"])) if training else None
    if training is None or judged is None:
        remedy = "run the flow: its steps train and evaluate come first"
        raise IntegrityError("the model has not been evaluated", where=str(run), remedy=remedy)
    folder = run / args.check_folder(training["model_identity"])
    if (record := contents.export(folder)) is not None and settled(record):
        return record
    started = time.time()
    model, base = run / "model", context.volumes.models / args.base_model
    problems = records.broken_files(model, training["model"]) or export.problems(model, base)
    rows, equal, second = 0, 0, Second(unchecked="the model is broken")
    if not problems:
        read_by = args.by(judged["read_by"]["backend"] if "read_by" in judged else OURS)
        rows, equal, second, problems = _reproduce(read_by, context, training, model)
    result = Export(problems=problems, rows=rows, equal=equal, transformers=second)
    result["seconds"] = round(time.time() - started, 1)
    put_export(run / args.folder(training["model_identity"]), result)
    records.write_record(folder, result)
    context.commit()
    return result


def settled(record: Export) -> bool:
    """Is there nothing to add to a check's record? Not where transformers did not look, and now could."""
    second = record.get("transformers", Second())
    return bool(record["problems"]) or "unchecked" not in second or second_reader.interpreter() is None


def _reproduce(
    args: CheckExportArgs, context: Context, training: Training, model: Path
) -> tuple[int, int, Second, list[str]]:
    """(rows read again, how many gave the evaluated answer, what transformers came to, problems)."""
    said = finished(context.volumes.outputs / args.place(training["model_identity"]))
    every, _ = rows_of_all(args, args.rows_place, context)
    chosen = every[:: max(1, math.ceil(len(every) / args.rows))]
    evaluated = [answer.text if (answer := said.get(row.key())) else None for row in chosen]
    try:
        equal = _equal(args, _read(args, model, chosen), evaluated)
    except IntegrityError as error:
        return len(chosen), 0, Second(unchecked="the model does not load here either"), [str(error)]
    problems = []
    if equal < REPRODUCED[args.device] * len(chosen):
        problems.append(f"only {equal} of {len(chosen)} evaluated answers are reproduced")
    if training["spec"].get("lora_rank"):
        problems += _against_adapter(args, context, training, model, chosen, evaluated)
    second, more = _second(args, model, chosen, evaluated)
    return len(chosen), equal, second, problems + more


def _second(
    args: CheckExportArgs, model: Path, rows: Sequence[HeldOutRow], evaluated: Sequence[str | None]
) -> tuple[Second, list[str]]:
    """(``{"rows", "equal", "versions", "device", "other": first answers that differ}`` or ``{"unchecked": why}``,
    problems).

    Only rows of one image and one question are compared: PaddleFormers 1.2.0 gives further images the first one's
    positions, in training and reading alike; transformers gives them their own.
    """
    single = [(row, said) for row, said in zip(rows, evaluated) if len(row.images) == 1 and not row.earlier]
    if not single:
        return Second(unchecked="no row of one image and one question among those that were read again"), []
    rows, evaluated = [row for row, _ in single], [said for _, said in single]
    try:
        pairs = [(row.images[0], row.prompt) for row in rows]
        size, longest = args.batch_size, args.max_new_tokens
        read = second_reader.read(model, pairs, device=args.device, batch_size=size, max_new_tokens=longest)
    except second_reader.NotInstalled as why:
        return Second(unchecked=str(why)), []
    except IntegrityError as error:
        return Second(rows=len(rows), equal=0, versions={}, device=args.device, other=[]), [str(error)]
    answers = [(theirs, ours or "") for theirs, ours in zip(read.texts, evaluated)]
    other = [pair for pair in answers if not same(pair[1], pair[0], args.device)]
    equal = len(rows) - len(other)
    found = Second(rows=len(rows), equal=equal, versions=read.versions, device=read.device, other=other[:3])
    problems = [f"transformers finds no weight {name}" for name in read.missing[:3]]
    if equal < REPRODUCED[args.device] * len(rows):
        first = f"; it reads {other[0][0][:40]!r} instead of {other[0][1][:40]!r}"
        name = f"transformers {read.versions.get('transformers', '')}".rstrip()
        problems.append(f"{name} gives only {equal} of {len(rows)} evaluated answers{first}")
    return found, problems


def _against_adapter(
    args: CheckExportArgs,
    context: Context,
    training: Training,
    model: Path,
    rows: Sequence[HeldOutRow],
    evaluated: Sequence[str | None],
) -> list[str]:
    """The merged weights are base plus adapter, and the base with the live adapter gives the same answers."""
    start = training.get("start_from")
    base = context.volumes.run(start) / "model" if start else context.volumes.models / args.base_model
    run = context.volumes.run(args.identity)
    adapter = run / ADAPTER if (run / ADAPTER).is_dir() else run / "trainer"
    if not (adapter / lora.CONFIG).is_file():
        return ["the adapter is no longer there to compare the merged model with"]
    problems = lora.differences(base, adapter, model)
    equal = _equal(args, _read(args, base, rows, adapter), evaluated)
    if equal < REPRODUCED[args.device] * len(rows):
        problems.append(f"base with adapter gives only {equal} of {len(rows)} answers of the merged model")
    return problems


def _read(args: CheckExportArgs, model: Path, rows: Sequence[HeldOutRow], adapter: Path | None = None) -> list[str]:
    from sft.models.recognition import Recogniser

    recogniser = Recogniser(model, args.device, adapter=adapter)
    turns = [row.turns for row in rows]
    read = dict(recogniser.read(turns, batch_size=args.batch_size, max_new_tokens=args.max_new_tokens))
    return [read[number] for number in range(len(rows))]


def _equal(args: CheckExportArgs, texts: Sequence[str], evaluated: Sequence[str | None]) -> int:
    """How many answers are the evaluated ones: to the letter where PaddleFormers has read both times."""
    if args.backend == OURS:
        return sum(a == b for a, b in zip(texts, evaluated))
    return sum(b is not None and same(b, a, args.device) for a, b in zip(texts, evaluated))


CHECK_EXPORT = Job("check_export", CheckExportArgs, check_export, billed=True)
