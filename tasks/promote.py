"""Step promote: the gate decides whether the candidate becomes the champion; the decision is shown and kept."""

from __future__ import annotations

from typing import cast

from prefect.artifacts import create_markdown_artifact

from compute.base import Compute
from compute.records import read_json
from runs.results import champion
from sft.jobs.promote import PromoteArgs
from sft.store.contents import Decision
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell


@step("promote", "Put the model into service if it beats base and champion by the rule; refuse it otherwise")
def promote(args: PromoteArgs, compute: Compute) -> Decision:
    """The decision (see :func:`sft.jobs.promote.promote`), with ``live``: is the candidate in service now?

    A candidate that was rolled back by hand is not promoted again.
    """
    decision = cast("Decision | None", read_json(compute, "outputs", args.decision()))
    if decision is None:
        key = f"promote-{args.name}-{args.identity[:16]}"
        decision = cast("Decision", run_job(compute, key, "promote", args.model_dump(mode="json")))
    if decision.get("stale"):
        return decision
    now = champion(compute, args.name)
    decision["live"] = now is not None and now.identity == args.identity
    create_markdown_artifact(markdown(decision, args), key="decision", description="Promoted or refused, and why")
    tell(verdict(decision, args))
    return decision


def verdict(decision: Decision, args: PromoteArgs) -> str:
    """One line for the log, the terminal and notifications."""
    if decision["promoted"]:
        over = f"over {decision['over'][:16]}" if decision["over"] else "over the base"
        state = f"promoted {over}" if decision.get("live", True) else "promoted before, rolled back or replaced since"
        return f"{args.name}: {args.identity[:16]} {state}"
    unmet = [check for check in decision["checks"] if not check["passed"]]
    failed = [f"{check['name']}: {check['found']} (needed: {check['needed']})" for check in unmet]
    return f"{args.name}: {args.identity[:16]} is refused: {'; '.join(failed)}"


def markdown(decision: Decision, args: PromoteArgs) -> str:
    """The decision as a table: what was found, what was needed."""
    said = "**Promoted.**" if decision["promoted"] else "**Refused.** What is in service stays."
    lines = [said, "", "| | requirement | found | needed |", "|---|---|---|---|"]
    for check in decision["checks"]:
        mark = "✓" if check["passed"] else "✗"
        lines.append(f"| {mark} | {check['name']} | {check['found']} | {check['needed']} |")
    lines += ["", f"By hand: `sft promote {args.name} {args.identity[:16]}`, `sft rollback {args.name}`."]
    return "\n".join(lines)
