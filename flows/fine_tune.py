"""The flow ``sft``: from a dataset on disk to an evaluated model, in service if it is better."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect import State, flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Cancelled, Completed

from compute.base import Compute
from compute.select import compute_for
from flows.deployments import NOTHING, Given, configuration
from flows.judging import judge
from flows.placing import is_elsewhere, placed_dataset, rows_of
from runs.account import Account, accounted
from runs.checking import check_here
from runs.hosting import hosted
from runs.on_hub import check_base_model
from runs.results import RunResult, starting_from
from runs.summary import scores, summary
from sft import plan
from sft.config import RunConfig
from sft.config.sections import Event
from sft.dataset.packing import Amount
from sft.errors import Detached, JobCancelled, SftError, Unchanged, check_all
from sft.jobs.evaluate import Guard
from sft.jobs.placed_rows import DatasetPlace
from sft.jobs.train import TrainArgs
from sft.store.volumes import run_place
from tasks.choose import Beside, choose
from tasks.ensure_base_model import ensure_base_model
from tasks.ensure_wheel import ensure_wheel
from tasks.events import crashed, emit
from tasks.labels import label, title
from tasks.notify import check_blocks, heard, notify
from tasks.presence import present, sweep
from tasks.slots import check_limit
from tasks.stored_dataset import given_dataset, stored_dataset
from tasks.sync_checkpoint import sync_checkpoint
from tasks.telling import tell
from tasks.track import tracked
from tasks.train import Left, Trained, train
from tasks.upload_data import upload_data
from tasks.validate_dataset import validate_dataset


def run_name() -> str:
    """The flow run's name in the UI until its training is known: profile and name of the configuration."""
    from prefect.runtime import deployment, flow_run

    config = flow_run.parameters["config"]
    if isinstance(config, RunConfig):
        return title(config)
    profile = config.get("profile") or deployment.name or "sft"
    return " ".join(dict.fromkeys(map(str, filter(None, (profile, config.get("name"))))))


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
    event = _event(result)
    cer = scores(result)
    _tell(config, event, f"{result.decision or 'finished'}\n{cer}\nmodel: {result.model}\nreport: {result.report}")
    # The state's name is what the UI shows in its lists: whoever looks sees at once what became of the night.
    ended: State[RunResult] = Completed(name=event.capitalize(), message=result.decision or cer, data=result)
    return ended


def _event(result: RunResult) -> Event:
    if result.waiting:
        return "waiting"
    return "finished" if result.promoted is None else "promoted" if result.promoted else "refused"


def _tell(config: RunConfig, event: Event, text: str) -> None:
    if heard(config, event):
        notify(config, event, text)


def steps(config: RunConfig) -> RunResult:
    """The steps of the flow, in order."""
    check_all(lambda: check_here(config), lambda: check_blocks(config), lambda: check_limit(config))
    compute = compute_for(config)
    check_base_model(config, compute)
    with tracked(config, compute) as tracking, accounted(config, compute, tell, crashed) as account:
        tracking.entry = account.entry
        guards = _guards(config, compute)
        place, amount = dataset(config, compute)
        account.dataset(place)
        ensure_wheel(config, compute)
        base = ensure_base_model(config, compute)
        args = starting_from(config, compute, place, amount, base)
        label(config, args.identity)
        trained = _train(config, args, compute, account)
        training = choose(config, args, trained.record, compute) if args.dataset.has_dev else trained.record
        folder = (Path(config.output.folder) / f"{config.name}-{args.identity[:8]}").resolve()
        synced = sync_checkpoint(training, folder, compute)
        judged = judge(config, compute, args, training, folder, guards)
        account.judged(judged.evaluation, judged.promoted, waiting=judged.waiting, who=judged.who, reason=judged.reason)
    evaluation = judged.evaluation
    if hosted() is not None:  # what the container has is gone with it
        folder = Path("outputs", run_place(args.identity))
    result = RunResult(
        identity=args.identity,
        folder=folder,
        model=folder / "model",
        report=folder / ("report.html" if hosted() is None else "evaluation"),
        rows=evaluation["rows"],
        base=evaluation["base"]["all"],
        tuned=evaluation["tuned"]["all"],
        trained=not trained.reused,
        copied=synced.copied,
        promoted=judged.promoted,
        waiting=judged.waiting,
        decision=judged.said,
    )
    page = summary(config, compute, result)
    create_markdown_artifact(markdown=page, key="summary", description="What came of the run")
    return result


def dataset(config: RunConfig, compute: Compute) -> tuple[DatasetPlace, Amount]:
    """Where the jobs find the rows, and what is trained on."""
    run = hosted()
    if run is not None and run.prepared.rows is not None:
        return given_dataset(*run.prepared.rows, config.train.max_seq_len)
    if config.dataset.volume:
        asked = config.dataset
        return stored_dataset(asked.volume, compute, config.train.max_seq_len, asked.dev_share, asked.part)
    if is_elsewhere(config):
        return placed_dataset(config, compute)
    files, report = validate_dataset(config, compute)
    upload_data(files, report, compute, config.dataset.pack)
    root = compute.dataset_root(files.root, report.fingerprint)
    return plan.dataset_of(config, files, report, root)


def _train(config: RunConfig, args: TrainArgs, compute: Compute, account: Account) -> Trained:
    """The training's record.

    Raises:
        Detached: nobody waits for its end.
    """
    budget = account.training(args)
    with account.counting(args):
        beside = partial(Beside, config, args, compute) if args.dataset.has_dev else None
        training: Trained | Left = train(args, compute, budget, config.train.restarts, beside, config.gpu_limit)
    if isinstance(training, Left):
        raise Detached(
            "the training runs on",
            value=f"call {training.call_id}",
            remedy="the same command without --detach attaches to it, sft cancel stops it",
        )
    account.entry.trained = not training.reused
    if not training.reused:
        facts = {"steps": training.record["steps"], "seconds": training.record["seconds"], "gpu": account.entry.gpu}
        emit("sft.trained", "training", args.identity, name=config.name, profile=config.profile, facts=facts)
    return training


def _guards(config: RunConfig, compute: Compute) -> dict[str, Guard]:
    """The guard sets, validated, where the models will read them."""
    run = hosted()
    known = run.prepared.guards if run is not None else {}
    asked = {name: given for name, given in sorted(config.dataset.guard.items()) if name not in known}
    found = {name: rows_of(config, compute, given, name) for name, given in asked.items()}
    return known | {name: Guard(rows=rows.place, fingerprint=rows.fingerprint) for name, rows in found.items()}
