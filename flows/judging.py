"""How a flow judges a training: base, champion and candidate read the same rows; gate and person decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect.runtime import flow_run
from prefect.settings import PREFECT_UI_URL

from compute.base import Compute
from runs.hosting import hosted
from runs.results import point_locally, to_beat
from sft import plan
from sft.config import RunConfig
from sft.errors import SftError
from sft.jobs.evaluate import Guard
from sft.jobs.promote import PromoteArgs
from sft.jobs.train import TrainArgs
from sft.store.contents import Decision, Evaluation, Training
from tasks.approve import Question, approve, with_form
from tasks.check_export import check_export
from tasks.evaluate import evaluate
from tasks.evaluate import markdown as scores
from tasks.notify import heard, notify
from tasks.promote import markdown, promote, verdict

COMPARED = 3  # times at most: another run may promote while this one compares


@dataclass(frozen=True)
class Judged:
    """What was found and decided.

    Attributes:
        promoted: None where nobody has decided: it was not asked for, or a person is still to be asked.
        said: the decision in words; ``who`` and ``reason`` are a person's.
        waiting: a person is to decide, and could not be asked here.
    """

    evaluation: Evaluation
    promoted: bool | None = None
    said: str = ""
    waiting: bool = False
    who: str = ""
    reason: str = ""


def judge(
    config: RunConfig,
    compute: Compute,
    args: TrainArgs,
    training: Training,
    folder: Path,
    guards: Mapping[str, Guard],
) -> Judged:
    """Compare, check, decide. Where another run promotes meanwhile, its model is the one to beat."""
    for _ in range(COMPARED):
        over = to_beat(compute, config.name, args.identity)
        judged = plan.evaluate_args(config, args, over, guards)
        evaluation = evaluate(judged, training, folder, compute, config.evaluate.shards)
        if config.promote.mode == "never":
            return Judged(evaluation)
        checking = plan.check_export_args(config, judged)
        check_export(checking, training, folder, compute)
        asked = plan.promote_args(config, checking, training["model_identity"])
        decision = promote(asked, folder, compute, config.profile)
        if decision.get("open"):
            decision = _asked(config, compute, asked, decision, evaluation, folder)
        if not decision.get("stale"):
            if decision.get("live") and hosted() is None:  # what a container has is gone with it
                point_locally(folder.parent, config.name, folder / "model")
            return _judged(config, evaluation, decision, asked)
    raise SftError(
        "other runs of this name promote again and again", where=config.name, remedy="run again when they have ended"
    )


def _judged(config: RunConfig, evaluation: Evaluation, decision: Decision, asked: PromoteArgs) -> Judged:
    said = verdict(decision, asked)
    if decision.get("open"):
        profile, candidate = config.profile or config.name, asked.identity[:16]
        how = f"sft promote {profile} {candidate} --because WHY, or with --refuse"
        return Judged(evaluation, None, f"{said}: {how}", waiting=True)
    if (answer := decision.get("answer")) is not None:
        return Judged(evaluation, decision["promoted"], said, who=answer["who"], reason=answer["reason"])
    now = decision["champion"] if decision["promoted"] else None
    who, reason = (now.get("who", ""), now.get("reason", "")) if now else ("", "")
    return Judged(evaluation, decision["promoted"], said, who=who, reason=reason)


def _asked(
    config: RunConfig,
    compute: Compute,
    asked: PromoteArgs,
    decision: Decision,
    evaluation: Evaluation,
    folder: Path,
) -> Decision:
    """The decision, once a person has been asked."""
    line = verdict(decision, asked)
    report, run = (folder / "report.html").resolve(), f"{PREFECT_UI_URL.value()}/runs/flow-run/{flow_run.id}"
    links = f"[Report]({report.as_uri()}) (`{report}`); artifacts of [this run]({run})"
    page = f"## {line}\n\n{links}\n\n{scores(evaluation)}\n\n{markdown(decision, asked)}"
    if with_form() and heard(config, "waiting"):
        notify(config, "waiting", f"{line}\nreport: {report}\nrun: {run}")
    answer = approve(asked, Question(line, page), compute, config.promote.wait)
    return promote(asked.model_copy(update={"answer": answer}), folder, compute, config.profile)
