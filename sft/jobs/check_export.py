"""Job ``check_export``: a new process loads the saved model and must give the answers that were evaluated."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from sft import export, lora, records
from sft.errors import IntegrityError
from sft.jobs.base import Context, Job
from sft.jobs.evaluate import EvaluateArgs
from sft.jobs.held_out import HeldOutRow
from sft.jobs.predict import finished, held_out_rows
from sft.volumes import run_place

# On a GPU sums in bfloat16 depend on how rows are batched, so that a rare answer differs; on the CPU none does.
REPRODUCED = {"cpu": 1.0, "gpu": 0.9}


class CheckExportArgs(EvaluateArgs):
    """``rows`` held-out rows are read again, spread over the set."""

    rows: int = Field(32, ge=1)

    def check_folder(self, model_identity: str) -> str:
        """Where the check's record lies, relative to the training's folder."""
        return f"export/{self.key(model_identity)}"


def check_export(args: CheckExportArgs, context: Context) -> dict[str, Any]:
    """Check the candidate's model, or return the record of the same check done before.

    Returns: ``{"problems": [...], "rows", "equal", "seconds"}``; a broken export is a result, no error.
    Raises:
        IntegrityError: the training or its evaluation has no record.
    """
    run = context.volumes.outputs / run_place(args.identity)
    training = records.read_record(run)
    if training is None or records.read_record(run / args.folder(training["model_identity"])) is None:
        remedy = "run the flow: its steps train and evaluate come first"
        raise IntegrityError("the model has not been evaluated", where=str(run), remedy=remedy)
    folder = run / args.check_folder(training["model_identity"])
    if (record := records.read_record(folder)) is not None:
        return record
    started = time.time()
    model, base = run / "model", context.volumes.models / args.base_model
    problems = records.broken_files(model, training["model"]) or export.problems(model, base)
    rows, equal = 0, 0
    if not problems:
        rows, equal, problems = _reproduce(args, context, training, model)
    result = {"problems": problems, "rows": rows, "equal": equal, "seconds": round(time.time() - started, 1)}
    records.write_record(folder, result)
    context.commit()
    return result


def _reproduce(
    args: CheckExportArgs, context: Context, training: dict[str, Any], model: Path
) -> tuple[int, int, list[str]]:
    """(rows read again, how many gave the evaluated answer, problems)."""
    said = finished(context.volumes.outputs / args.place(training["model_identity"]))
    every = held_out_rows(args, context)
    chosen = every[:: max(1, math.ceil(len(every) / args.rows))]
    evaluated = [answer.text if (answer := said.get(row.key())) else None for row in chosen]
    try:
        equal = _equal(_read(args, model, chosen), evaluated)
    except IntegrityError as error:
        return len(chosen), 0, [str(error)]
    problems = []
    if equal < REPRODUCED[args.device] * len(chosen):
        problems.append(f"only {equal} of {len(chosen)} evaluated answers are reproduced")
    if training["spec"].get("lora_rank"):
        problems += _against_adapter(args, context, training, model, chosen, evaluated)
    return len(chosen), equal, problems


def _against_adapter(
    args: CheckExportArgs,
    context: Context,
    training: dict[str, Any],
    model: Path,
    rows: Sequence[HeldOutRow],
    evaluated: Sequence[str | None],
) -> list[str]:
    """The merged weights are base plus adapter, and the base with the live adapter gives the same answers."""
    start = training.get("start_from")
    base = context.volumes.run(start) / "model" if start else context.volumes.models / args.base_model
    adapter = context.volumes.run(args.identity) / "trainer"
    if not (adapter / lora.CONFIG).is_file():
        return ["the adapter is no longer there to compare the merged model with"]
    problems = lora.differences(base, adapter, model)
    equal = _equal(_read(args, base, rows, adapter), evaluated)
    if equal < REPRODUCED[args.device] * len(rows):
        problems.append(f"base with adapter gives only {equal} of {len(rows)} answers of the merged model")
    return problems


def _read(args: CheckExportArgs, model: Path, rows: Sequence[HeldOutRow], adapter: Path | None = None) -> list[str]:
    from sft.recognition import Recogniser

    recogniser = Recogniser(model, args.device, adapter=adapter)
    turns = [row.turns for row in rows]
    read = dict(recogniser.read(turns, batch_size=args.batch_size, max_new_tokens=args.max_new_tokens))
    return [read[number] for number in range(len(rows))]


def _equal(texts: Sequence[str], evaluated: Sequence[str | None]) -> int:
    return sum(a == b for a, b in zip(texts, evaluated))


CHECK_EXPORT = Job("check_export", CheckExportArgs, check_export, billed=True)
