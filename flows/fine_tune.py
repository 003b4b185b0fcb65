"""The flow ``sft``: from a dataset on disk to an evaluated model, in service if it is better."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Cancelled, Completed
from pydantic import BaseModel

from compute.base import Compute
from compute.records import read_json
from compute.select import compute_for
from flows.deployments import NOTHING, Given, configuration
from runs.budget import Budget
from runs.calls import running_call, training_key
from runs.checking import check_folder
from runs.ledger import Entry, keep, read_ledger, recorded
from runs.usage import month_so_far, read_usage
from sft import plan
from sft.config import RunConfig
from sft.config.model import Event
from sft.dataset.dropped import describe
from sft.dataset.packing import Amount
from sft.engines import ENGINES
from sft.errors import Detached, JobCancelled, SftError, Unchanged
from sft.jobs.train import DatasetPlace, TrainArgs
from sft.store.volumes import run_place
from tasks.check_export import check_export
from tasks.ensure_base_model import ensure_base_model
from tasks.ensure_wheel import ensure_wheel
from tasks.evaluate import evaluate
from tasks.notify import heard, notify
from tasks.presence import present, sweep
from tasks.promote import champion, point_locally, promote, summary, to_beat
from tasks.stored_dataset import stored_dataset
from tasks.sync_checkpoint import sync_checkpoint
from tasks.telling import tell
from tasks.train import finished_training, train
from tasks.upload_data import upload_data
from tasks.validate_dataset import validate_dataset

LOOKED = 200  # newest runs among which the last one of a name is looked for
COMPARED = 3  # times at most: another run may promote while this one compares


class RunResult(BaseModel):
    """What a run came to. Scores are those of :class:`sft.metrics.Scores`; paths are local."""

    identity: str
    folder: Path
    model: Path
    report: Path
    rows: int
    base: dict[str, Any]
    tuned: dict[str, Any]
    trained: bool  # False: the same training had finished before
    copied: int  # files copied to this machine
    promoted: bool | None = None  # None: nobody was asked (promote.mode is never)
    decision: str = ""


def run_name() -> str:
    """The flow run's name in the UI: the configuration's name."""
    from prefect.runtime import deployment, flow_run

    config = flow_run.parameters["config"]
    name = config.name if isinstance(config, RunConfig) else config.get("name")
    return str(name or deployment.name or "sft")


@flow(
    name="sft",
    description="Fine-tune PaddleOCR-VL on a dataset, compare it with base and champion, promote it if it is better",
    flow_run_name=run_name,
)
def fine_tune(config: Given = NOTHING) -> RunResult | State[RunResult]:
    """Validate, prepare, train, sync, evaluate, check, promote. A cancelled run ends as Cancelled, its job stopped.

    Args:
        config: The run's values. A deployment fills in those of its profile; what is left out is the profile's.

    Raises:
        SftError: the first step that fails; what was finished before it is kept and found by the next run.
    """
    config, refused = configuration(config)
    try:
        if refused:
            raise refused
        sweep()
        with present():
            result = steps(config)
    except JobCancelled as error:
        _tell(config, "cancelled", str(error))
        cancelled: State[RunResult] = Cancelled(message=str(error))
        return cancelled
    except Detached as error:
        left: State[RunResult] = Completed(name="Detached", message=str(error))
        return left
    except Unchanged as error:
        _tell(config, "skipped", str(error))
        skipped: State[RunResult] = Completed(name="Skipped", message=str(error))
        return skipped
    except SftError as error:
        _tell(config, "failed", str(error))
        raise
    except Exception as error:
        _tell(config, "failed", f"{type(error).__name__}: {error}")
        raise
    event: Event = "finished" if result.promoted is None else "promoted" if result.promoted else "refused"
    cer = f"CER on {result.rows} held-out rows: base {result.base['cer']:.3f}, tuned {result.tuned['cer']:.3f}"
    _tell(config, event, f"{result.decision or 'finished'}\n{cer}\nmodel: {result.model}\nreport: {result.report}")
    # The state's name is what the UI shows in its lists: whoever looks sees at once what became of the night.
    ended: State[RunResult] = Completed(name=event.capitalize(), message=result.decision or cer, data=result)
    return ended


def _tell(config: RunConfig, event: Event, text: str) -> None:
    if heard(config, event):
        notify(config, event, text)


def steps(config: RunConfig) -> RunResult:
    """The steps of the flow, in order."""
    check_folder(Path(config.output.folder))
    compute = compute_for(config)
    with recorded(config, compute, tell) as entry:
        place, amount = _dataset(config, compute)
        entry.dataset, entry.settings = place.fingerprint, plan.settings(config)
        if config.skip_unchanged:
            _skip_if_unchanged(config, compute, entry)
        ensure_wheel(config, compute)
        base = ensure_base_model(config, compute)
        args = starting_from(config, compute, place, amount, base)
        entry.identity, entry.base_model, entry.gpu = args.identity, args.base_model, config.billed_as
        entry.engine_version, entry.steps = ENGINES[config.engine].version, args.spec.max_steps
        keep(entry)
        budget = Budget.of(config, _spent(config, compute, args) if config.budget.max_cost_per_month else 0.0)
        training = _train(config, args, compute, budget, entry)
        folder = (Path(config.output.folder) / f"{config.name}-{args.identity[:8]}").resolve()
        synced = sync_checkpoint(training, folder, compute)
        evaluation, promoted, decision = _judge(config, compute, args, training, folder)
        entry.rows = evaluation["rows"]
        entry.metrics = {model: evaluation[model]["all"] for model in evaluation["models"]}
        entry.decision = "" if promoted is None else "promoted" if promoted else "refused"
    result = RunResult(
        identity=args.identity,
        folder=folder,
        model=folder / "model",
        report=folder / "report.html",
        rows=evaluation["rows"],
        base=evaluation["base"]["all"],
        tuned=evaluation["tuned"]["all"],
        trained=not training["reused"],
        copied=synced.copied,
        promoted=promoted,
        decision=decision,
    )
    create_markdown_artifact(
        markdown=_summary(config, compute, result), key="summary", description="What came of the run"
    )
    return result


def _summary(config: RunConfig, compute: Compute, result: RunResult) -> str:
    """All that somebody who opens the run looks for, with where to go on."""
    base, tuned, profile = result.base, result.tuned, config.profile or config.name
    record = read_json(compute, "outputs", f"{run_place(result.identity)}/record.json") or {}
    call, used = record.get("call_id", ""), record.get("left_out", {})  # earlier records do not know what was used
    rows = f"{used['passes']:g} passes over {used['rows']} rows; {describe(used) or 'none left out'}" if used else ""
    rows = rows.replace("|", "\\|")  # a trainer's own words may have one
    lines = [
        f"## {result.decision or 'Not asked to promote'}",
        f"CER on {result.rows} held-out rows: base **{base['cer']:.3f}**, tuned **{tuned['cer']:.3f}**; "
        f"exactly right: base {100 * base['exact']:.1f} %, tuned {100 * tuned['exact']:.1f} %.",
        "| | |",
        "|---|---|",
        f"| training | `{result.identity[:16]}`{'' if result.trained else ' (had finished before)'} |",
        f"| trained on | {rows} |",
        f"| training's call | {compute.link(call) if call else ''} |",
        f"| model | `{result.model}` |",
        f"| report | `{result.report}` |",
        f"| curves | `sft tensorboard {profile}` |",
        f"| read pages | `sft infer PAGE --model {result.identity[:16]} --profile {profile}` |",
    ]
    return "\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:])


def _dataset(config: RunConfig, compute: Compute) -> tuple[DatasetPlace, Amount]:
    """Where the jobs find the rows, and what is trained on."""
    if config.dataset.volume:
        return stored_dataset(config.dataset.volume, compute, config.train.max_seq_len)
    files, report = validate_dataset(config, compute)
    upload_data(files, report, compute)
    root = compute.dataset_root(files.root, report.fingerprint)
    return plan.dataset_place(files, report, root), report.train.amount


def _skip_if_unchanged(config: RunConfig, compute: Compute, entry: Entry) -> None:
    """Raise :class:`Unchanged` where the last finished run of this name had the same data and settings."""
    finished = [e for e in read_ledger(compute, last=LOOKED) if (e.name, e.outcome) == (config.name, "completed")]
    if finished and (finished[-1].dataset, finished[-1].settings) == (entry.dataset, entry.settings):
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(finished[-1].started))
        reason = f"data and settings are those of the run of {day} (training {finished[-1].identity[:16]})"
        raise Unchanged(reason, remedy="add data, or run with --set skip_unchanged=false")


def starting_from(
    config: RunConfig, compute: Compute, place: DatasetPlace, amount: Amount, base: dict[str, Any]
) -> TrainArgs:
    """The training's arguments: from the base, or from the champion where the configuration says so.

    A champion that was itself trained so, on the same data, is the result already: it is not trained on once more.
    """
    from_base = plan.train_args(config, place, amount, base)
    now = champion(compute, config.name) if config.base_model.start == "champion" else None
    record = finished_training(compute, now.identity) if now else None
    if now is None or record is None:
        return from_base
    earlier = finished_training(compute, record["start_from"]) if record.get("start_from") else None
    start = None
    if earlier is not None:
        values = {"identity": earlier["identity"], "model_identity": earlier["model_identity"]}
        start = now.model_copy(update=values)
    again = plan.train_args(config, place, amount, base, start)
    return again if again.identity == now.identity else plan.train_args(config, place, amount, base, now)


def _spent(config: RunConfig, compute: Compute, args: TrainArgs) -> float:
    """What this month's other calls cost; the call that this run would attach to is counted while it works."""
    return month_so_far(config, compute, but=running_call(compute, training_key(args.identity)))[1]


def _train(config: RunConfig, args: TrainArgs, compute: Compute, budget: Budget, entry: Entry) -> dict[str, Any]:
    """The training, with what it cost in the ledger's entry, whatever became of it."""
    before = time.time()
    try:
        training: dict[str, Any] = train(args, compute, budget, config.train.restarts)
    finally:  # of a training that had finished before no call is found
        _count(args, compute, budget, entry, before)
    if "detached" in training:
        raise Detached(
            "the training runs on",
            value=f"call {training['detached']}",
            remedy="the same command without --detach attaches to it, sft cancel stops it",
        )
    entry.trained = not training["reused"]
    return training


def _count(args: TrainArgs, compute: Compute, budget: Budget, entry: Entry, since: float) -> None:
    """How long the training's calls have worked that this run has followed, and what they cost."""
    try:
        calls = [u for u in read_usage(compute, since) if (u.job, u.identity) == ("train", args.identity)]
    except SftError:  # Modal does not answer; that is not what is to be told
        return
    entry.training_seconds = sum(usage.seconds() for usage in calls)
    entry.cost = budget.cost(entry.training_seconds)


def _judge(
    config: RunConfig, compute: Compute, args: TrainArgs, training: dict[str, Any], folder: Path
) -> tuple[dict[str, Any], bool | None, str]:
    """(evaluation, promoted, decision in words). Where another run promotes meanwhile, its model is the one to beat."""
    for _ in range(COMPARED):
        over = to_beat(compute, config.name, args.identity)
        judged = plan.evaluate_args(config, args, over)
        evaluation = evaluate(judged, training, folder, compute, config.evaluate.shards)
        if config.promote.mode == "never":
            return evaluation, None, ""
        checking = plan.check_export_args(config, judged)
        check_export(checking, training, folder, compute)
        asked = plan.promote_args(config, checking, training["model_identity"])
        decision = promote(asked, compute)
        if not decision.get("stale"):
            if decision["live"]:
                point_locally(folder.parent, config.name, folder / "model")
            return evaluation, decision["promoted"], summary(decision, asked)
    raise SftError(
        "other runs of this name promote again and again", where=config.name, remedy="run again when they have ended"
    )
