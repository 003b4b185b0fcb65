"""By hand: put a training into service, go back, publish, make room, look at the curves."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from rich.table import Table

from cli.asking import user
from compute.base import Compute
from compute.local import LocalCompute
from compute.select import compute_for
from runs.account import paid
from runs.mirroring import mirror
from runs.on_hub import check_may_publish
from runs.outbox import flush
from runs.results import champion, finished_training, newest_evaluation, open_questions, point_locally
from runs.waiting import run_job
from sft.config import RunConfig
from sft.errors import InputError, SftError
from sft.jobs.check_export import CheckExportArgs
from sft.jobs.maintenance import CleanupArgs
from sft.jobs.promote import Answer, PromoteArgs, told
from sft.plan import download_args
from sft.processes import die_with_parent
from sft.report.publishing import model_card, publish
from sft.store.champions import Champion
from sft.store.contents import Decision, Evaluation, Export, Training
from sft.store.volumes import RUNS, run_place
from sft.training.events import TENSORBOARD

Say = Callable[[str], None]


def promote_by_hand(config: RunConfig, identity: str, say: Say, *, force: bool, because: str = "") -> Champion:
    """Put a training into service, without asking the gate. Its export is checked unless ``force``.

    Where a person is asked about the training, this is the answer: the gate has passed it, and its export is good.

    Args:
        because: why, for the champion's record.
    Raises:
        InputError: there is no such training, or it was not evaluated.
        SftError: its export is broken.
    """
    compute = compute_for(config)
    training = _training(compute, identity)
    said = Answer(accepted=True, who=user(), reason=because)
    if not force and (decided := answer_open(config, compute, training["identity"], said)):
        return _served(config, compute, decided, say)
    evaluation = _evaluation(compute, training["identity"])
    folder, export = "", ""
    if not force:
        if evaluation is None:
            remedy = "sft run evaluates it; --force promotes it unseen"
            raise InputError("the training was not evaluated", value=identity, remedy=remedy)
        args = CheckExportArgs(**evaluation.get("args", {}), rows=config.promote.check_rows)
        say("loading the saved model in a new process")
        with paid(config, compute, "promote", training["identity"][:16], say):
            checked = cast("Export", run_job(compute, "check_export", args.model_dump(mode="json")))
        if checked["problems"]:
            remedy = "train again; --force promotes it all the same"
            raise SftError("the export is broken", value="; ".join(checked["problems"]), remedy=remedy)
        folder, export = args.folder(training["model_identity"]), args.check_folder(training["model_identity"])
    asked = PromoteArgs(name=config.name, identity=training["identity"], evaluation=folder, export=export, by="hand")
    return _served(config, compute, _decide(compute, asked.model_copy(update={"answer": said})), say)


def refuse_by_hand(config: RunConfig, identity: str, because: str) -> tuple[str, str]:
    """Answer no where a person is asked about a training; (its identity, what was decided).

    Raises:
        InputError: nobody is asked about it.
    """
    compute = compute_for(config)
    training = _training(compute, identity)
    decision = answer_open(config, compute, training["identity"], Answer(accepted=False, who=user(), reason=because))
    if decision is None:
        remedy = "sft history says what became of each run; sft rollback takes back what is in service"
        raise InputError("nobody waits for a decision on this training", value=identity, remedy=remedy)
    return training["identity"], f"{config.name}: {training['identity'][:16]} {told(decision)}"


def answer_open(config: RunConfig, compute: Compute, identity: str, answer: Answer) -> Decision | None:
    """The decision by this answer; None where no question about the training is open, or it was compared with another
    champion than the present one.
    """
    for asked in open_questions(compute, config.name):
        if asked.identity == identity:
            decision = _decide(compute, asked.model_copy(update={"answer": answer}))
            if not decision.get("stale"):
                return decision
    return None


def _decide(compute: Compute, asked: PromoteArgs) -> Decision:
    return cast("Decision", run_job(compute, "promote", asked.model_dump(mode="json")))


def roll_back(config: RunConfig, say: Say = lambda text: None) -> Champion:
    """Put the champion before the present one into service again.

    Raises:
        InputError: there is none.
    """
    compute = compute_for(config)
    if champion(compute, config.name) is None:  # said at once; with one before it or not, the job sees under its lease
        remedy = "sft promote PROFILE IDENTITY puts a training in service"
        raise InputError("there is no champion to go back to", where=config.name, remedy=remedy)
    return _served(config, compute, _decide(compute, PromoteArgs(name=config.name, by="rollback")), say)


def _served(config: RunConfig, compute: Compute, decision: Decision, say: Say) -> Champion:
    """The champion, with the local link on its model where a copy of it is here; trackers that show it are told."""
    now = Champion.model_validate(decision["champion"])
    results = Path(config.output.folder).resolve()
    model = results / f"{config.name}-{now.identity[:8]}" / "model"
    if model.is_dir():
        point_locally(results, config.name, model)
    if config.track.targets:
        for error in flush(config, compute, say):
            say(f"warning: {error}")
    return now


def _evaluation(compute: Compute, identity: str) -> Evaluation | None:
    """The record of the training's newest evaluation, or None."""
    files = (file.path for file in compute.list("outputs", f"{run_place(identity)}/evaluation"))
    return newest_evaluation(compute, files, identity)


def _training(compute: Compute, identity: str) -> Training:
    training = finished_training(compute, identity)
    if training is None:
        raise InputError("no finished training of that identity", value=identity, remedy="sft status lists them")
    return training


def publish_model(
    config: RunConfig, repo: str, model: str, *, public: bool, licence: str, say: Say = lambda text: None
) -> str:
    """Upload a training's model and its card to the Hub; returns the address.

    Args:
        model: champion, or a training's identity.
    Raises:
        InputError: there is no such model, it was not evaluated, or the token may not write.
    """
    from huggingface_hub import get_token  # the environment's, or that of hf auth login

    compute = compute_for(config)
    now = champion(compute, config.name)
    if model == "champion" and now is None:
        raise InputError("there is no champion yet", value=config.name, remedy="name a training: sft status lists them")
    check_may_publish(get_token() or "")
    training = _training(compute, now.identity if now and model == "champion" else model)
    evaluation = _evaluation(compute, training["identity"])
    if evaluation is None:
        raise InputError("the training was not evaluated", value=model, remedy="sft run evaluates it")
    repository = download_args(config).repo
    card = model_card(training, evaluation, base_repo=repository, family=config.family, licence=licence)
    with tempfile.TemporaryDirectory(prefix="sft-publish-") as temporary:
        folder = Path(config.output.folder).resolve() / f"{training['name']}-{training['identity'][:8]}" / "model"
        if not folder.is_dir():  # it was synced elsewhere
            folder = Path(temporary) / "model"
            mirror(compute, f"{run_place(training['identity'])}/model", training["model"], folder)
        say(f"sending {sum(entry['size'] for entry in training['model'].values()) / 1e6:.0f} MB to {repo}")
        message = f"Training {training['identity'][:16]}: {training['steps']} steps with {training['engine']}"
        return publish(folder, training["model"], repo, card, public=public, message=message)


def cleanup_table(config: RunConfig, args: CleanupArgs) -> Table:
    """Clean up (or try, by ``args.dry_run``) where the configuration computes; what became of each training."""
    compute = compute_for(config)
    found = run_job(compute, "cleanup", args.model_dump(mode="json"))["runs"]
    freed = sum(entry["removed"] for entry in found)
    verb = "would be freed (--yes does it)" if args.dry_run else "freed"
    table = Table(
        "training", "name", "finished", "MB", "MB that go", "stays because", title=f"{freed / 1e6:,.1f} MB {verb}"
    )
    for entry in sorted(found, key=lambda entry: -entry["bytes"]):
        day = time.strftime("%Y-%m-%d", time.localtime(entry["finished"])) if entry["finished"] else ""
        sizes = (f"{entry['bytes'] / 1e6:,.1f}", f"{entry['removed'] / 1e6:,.1f}" if entry["removed"] else "")
        table.add_row(entry["run"], str(entry["name"]), day, *sizes, entry["kept"])
    return table


def tensorboard(config: RunConfig, port: int, say: Say) -> None:
    """Serve the curves of all trainings until Ctrl-C; at Modal, say where they are served."""
    compute = compute_for(config)
    if not isinstance(compute, LocalCompute):
        from cli.deploying import board_address

        say(f"TensorBoard: {board_address()}")
        say("It asks for a proxy token of your workspace: Modal's settings, Proxy Auth Tokens; send it as the headers")
        say("Modal-Key and Modal-Secret (a browser needs an extension that sets headers, or use curl).")
        return
    say(f"TensorBoard: http://127.0.0.1:{port}  (Ctrl-C ends it)")
    runs = compute.volumes.outputs / RUNS
    runs.mkdir(parents=True, exist_ok=True)
    command = [*TENSORBOARD, "--logdir", str(runs), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, preexec_fn=die_with_parent)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        return
    if code:
        raise SftError("TensorBoard did not start", value=f"exit code {code}", remedy="another --port may be free")
