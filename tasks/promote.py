"""Step promote: the gate decides whether the candidate becomes the champion; the decision is shown and kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact

from compute.base import Compute
from compute.records import read_json
from sft.jobs.promote import PromoteArgs
from sft.store import champions
from sft.store.champions import Champion
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell


@step("promote", "Put the model into service if it beats base and champion by the rule; refuse it otherwise")
def promote(args: PromoteArgs, compute: Compute) -> dict[str, Any]:
    """The decision (see :func:`sft.jobs.promote.promote`), with ``live``: is the candidate in service now?

    A candidate that was rolled back by hand is not promoted again.
    """
    decision = read_json(compute, "outputs", args.decision())
    if decision is None:
        key = f"promote-{args.name}-{args.identity[:16]}"
        decision = run_job(compute, key, "promote", args.model_dump(mode="json"))
    if decision.get("stale"):
        return decision
    now = champion(compute, args.name)
    decision["live"] = now is not None and now.identity == args.identity
    create_markdown_artifact(markdown(decision, args), key="decision", description="Promoted or refused, and why")
    tell(summary(decision, args))
    return decision


def champion(compute: Compute, name: str) -> Champion | None:
    """The line's champion, or None.

    Raises:
        IntegrityError: its file says something else.
    """
    place = champions.pointer(name)
    return champions.known(read_json(compute, "outputs", place), f"outputs/{place}")


def to_beat(compute: Compute, name: str, identity: str) -> str:
    """The training that a candidate is compared with besides the base; for the champion itself, the one before."""
    now = champion(compute, name)
    if now is None:
        return ""
    return now.over if now.identity == identity else now.identity


def point_locally(folder: Path, name: str, model: Path) -> Path:
    """Let the link ``NAME-champion`` in the results' folder point to the champion's model, atomically."""
    link, temporary = folder / f"{name}-champion", folder / f".{name}-champion.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(model, folder))
    os.replace(temporary, link)
    return link


def summary(decision: dict[str, Any], args: PromoteArgs) -> str:
    """One line for the log, the terminal and notifications."""
    if decision["promoted"]:
        over = f"over {decision['over'][:16]}" if decision["over"] else "over the base"
        state = f"promoted {over}" if decision.get("live", True) else "promoted before, rolled back or replaced since"
        return f"{args.name}: {args.identity[:16]} {state}"
    failed = [f"{check['name']}: {check['found']}" for check in decision["checks"] if not check["passed"]]
    return f"{args.name}: {args.identity[:16]} is refused: {'; '.join(failed)}"


def markdown(decision: dict[str, Any], args: PromoteArgs) -> str:
    """The decision as a table: what was found, what was needed."""
    verdict = "**Promoted.**" if decision["promoted"] else "**Refused.** What is in service stays."
    lines = [verdict, "", "| | requirement | found | needed |", "|---|---|---|---|"]
    for check in decision["checks"]:
        mark = "✓" if check["passed"] else "✗"
        lines.append(f"| {mark} | {check['name']} | {check['found']} | {check['needed']} |")
    lines += ["", f"By hand: `sft promote {args.name} {args.identity[:16]}`, `sft rollback {args.name}`."]
    return "\n".join(lines)
