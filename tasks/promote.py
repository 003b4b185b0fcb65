"""Step promote: the gate decides whether the candidate becomes the champion; the decision is shown and kept."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from prefect.artifacts import create_markdown_artifact

from compute.base import Compute
from compute.records import read_json
from runs.results import champion
from sft.jobs.promote import PromoteArgs, answered, binding, told
from sft.store.contents import Decision
from sft.store.volumes import run_place
from tasks.events import Name, emit
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell

REPORTS = ("report.html", "report.json")


@step("promote", "Put the model into service if it beats base and champion by the rule; refuse it otherwise")
def promote(args: PromoteArgs, folder: Path, compute: Compute, profile: str = "") -> Decision:
    """The decision (see :func:`sft.jobs.promote.promote`), with ``live``: is the candidate in service now?

    A candidate that was rolled back by hand is not promoted again.

    Args:
        folder: where the report is fetched to: the decision stands in it now.
    """
    decision = binding(cast("Decision | None", read_json(compute, "outputs", args.decision())))
    new = decision is None
    if decision is None:
        key = f"promote-{args.name}-{args.identity[:16]}"
        decision = cast("Decision", run_job(compute, key, "promote", args.model_dump(mode="json")))
    if decision.get("stale"):
        return decision
    now = champion(compute, args.name)
    decision["live"] = now is not None and now.identity == args.identity
    create_markdown_artifact(markdown(decision, args), key="decision", description="Promoted or refused, and why")
    said = verdict(decision, args)
    tell(said)
    if decision.get("open"):
        emit("sft.asked", "training", args.identity, name=args.name, profile=profile, facts={"decision": said})
        return decision
    place = f"{run_place(args.identity)}/{args.evaluation}"
    for name in REPORTS:
        compute.get("outputs", f"{place}/{name}", folder / name)
    if new and not (decision["promoted"] and not decision.get("checks")):  # one without was promoted before
        event: Name = "sft.promoted" if decision["promoted"] else "sft.refused"
        facts = {"decision": said, "over": decision["over"]}
        emit(event, "training", args.identity, name=args.name, profile=profile, facts=facts)
    return decision


def verdict(decision: Decision, args: PromoteArgs) -> str:
    """One line for the log, the terminal and notifications."""
    candidate = f"{args.name}: {args.identity[:16]}"
    if decision.get("open"):
        return f"{candidate} passes the gate, and waits for a decision"
    if decision["promoted"] and not decision.get("live", True):
        return f"{candidate} promoted before, rolled back or replaced since"
    return f"{candidate} {told(decision)}"


def markdown(decision: Decision, args: PromoteArgs) -> str:
    """The decision as a table: what was found, what was needed."""
    if decision.get("open"):
        said = "**It passes the gate. A person decides.**"
    else:
        said = "**Promoted.**" if decision["promoted"] else "**Refused.** What is in service stays."
    if words := answered(decision):
        said += f" {'Asked' if decision['answer']['late'] else 'Decided'}{words}."
    lines = [said, "", "| | requirement | found | needed |", "|---|---|---|---|"]
    for check in decision["checks"]:
        mark = "✓" if check["passed"] else "✗"
        lines.append(f"| {mark} | {check['name']} | {check['found']} | {check['needed']} |")
    lines += ["", f"By hand: `sft promote {args.name} {args.identity[:16]}`, `sft rollback {args.name}`."]
    return "\n".join(lines)
