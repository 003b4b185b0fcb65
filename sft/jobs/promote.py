"""Job ``promote``: the gate's decision, and the swap of the champion's pointer, one at a time for each line of runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.errors import InputError, IntegrityError, LeaseHeld, TransientError
from sft.jobs.base import Job
from sft.metrics.gate import Check, Rule, decide
from sft.store import champions, contents, records, reported
from sft.store.contents import Decision, Said, Training
from sft.store.lease import Held

ASKED = "asked"  # folder of what people are asked, beside the decisions


class Answer(BaseModel):
    """What a person said to a candidate that the gate lets pass (see :class:`sft.store.contents.Said`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accepted: bool
    who: str = ""
    reason: str = ""
    late: bool = False

    def plain(self) -> Said:
        """As it stands in a decision."""
        return Said(accepted=self.accepted, who=self.who, reason=self.reason, late=self.late)


class PromoteArgs(BaseModel):
    """A candidate: training ``identity`` of the line ``name``.

    Attributes:
        evaluation, export: folders of the two records, relative to the training's folder.
        over: the champion's training that the candidate was compared with; empty: there was none.
        by: gate: the rule decides; hand: somebody has decided, the export must still be good; rollback: back to the
            champion before, ``identity`` is empty then.
        ask: where the rule lets it pass, a person is asked: without an answer it is neither promoted nor refused.
        answer: that person's; by hand: who it is, and why.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    identity: str = ""
    evaluation: str = ""
    export: str = ""
    over: str = ""
    rule: Rule = Rule()
    by: Literal["gate", "hand", "rollback"] = "gate"
    ask: bool = False
    answer: Answer | None = None

    def decision(self) -> str:
        """Where the decision lies on the outputs volume: it is made once for a candidate, a comparison and a rule."""
        return f"{champions.place(self.name)}/decisions/{self.key()}.json"

    def asked(self) -> str:
        """Where the question lies on the outputs volume that a person is asked."""
        return f"{champions.place(self.name)}/{ASKED}/{self.key()}.json"

    def key(self) -> str:
        """Names the decision: it begins with the candidate's identity."""
        key = records.fingerprint([self.evaluation, self.over, self.rule.model_dump()])[:12]
        return f"{self.identity[:16]}-{key}"


def binding(decision: Decision | None) -> Decision | None:
    """The decision, where it is one: what nobody has answered in time may be asked, and decided, once more."""
    answer = decision.get("answer") if decision is not None else None
    return None if answer is not None and answer["late"] else decision


def promote(args: PromoteArgs, context: Context) -> Decision:
    """Decide, and promote if the candidate passes.

    Returns: the decision: promoted, checks, champion (the pointer now), over; ``{"stale": True, …}`` where another
        champion came into service since the candidate was compared: it has to be compared with that one;
        ``{"open": True, …}`` where it passes and a person has to be asked.
    Raises:
        TransientError: another promotion of this line is under way, or other machines cannot be reached.
        InputError: there is nothing to roll back to.
        IntegrityError: a record is missing, or the model is not whole.
    """
    folder = context.volumes.outputs / champions.place(args.name)
    try:
        with context.lease(folder) as held:
            act = _rollback if args.by == "rollback" else _promote
            result = act(args, context, folder, held)
            context.commit()
            return result
    except LeaseHeld as held:
        raise TransientError("another promotion is under way", where=args.name, value=held.value) from held


def _promote(args: PromoteArgs, context: Context, folder: Path, held: Held) -> Decision:
    place = context.volumes.outputs / args.decision()
    known = binding(records.read_json(place))
    if known is not None and args.by == "gate":
        return known
    now = champions.read(folder)
    if now is not None and now.identity == args.identity:
        return {"promoted": True, "checks": [], "champion": now.model_dump(), "over": now.over}
    if args.by == "gate" and (now.identity if now else "") != args.over:
        champion = now.model_dump() if now else None
        return {
            "stale": True,
            "promoted": False,
            "checks": [],
            "champion": champion,
            "over": now.identity if now else "",
        }
    run, training = _whole(args, context)
    evaluation = contents.evaluation(run / args.evaluation) if args.evaluation else None
    export = contents.export(run / args.export) if args.export else None
    if args.by == "gate" and (evaluation is None or export is None):
        raise IntegrityError("the candidate was not evaluated and checked", where=str(run), remedy="run the flow")
    checks = decide(args.rule, evaluation, export) if evaluation and export else []
    promoted = args.by == "hand" or all(check.passed for check in checks)
    decision = _decision(args, checks, now.identity if now else "")
    decision["rows"] = evaluation.get("row_keys", []) if evaluation else []
    held.check()
    if promoted and args.by == "gate":
        if args.ask and args.answer is None:
            records.write_json(context.volumes.outputs / args.asked(), {"args": args.model_dump(), "time": time.time()})
            decision["champion"] = now.model_dump() if now else None
            return {**decision, "open": True}
        if args.answer is not None:
            decision["answer"], promoted = args.answer.plain(), args.answer.accepted
    decision["promoted"] = promoted
    if promoted:
        said = args.answer or Answer(accepted=True)
        now = champions.swap(
            folder,
            name=args.name,
            identity=args.identity,
            model_identity=training["model_identity"],
            by="hand" if args.by == "hand" else "gate",
            over=now.identity if now else "",
            fence=held.fence,
            evaluation=f"{run.relative_to(context.volumes.outputs).as_posix()}/{args.evaluation}",
            who=said.who,
            reason=said.reason,
        )
    decision["champion"] = now.model_dump() if now else None
    if args.by == "gate":
        records.write_json(place, decision)
        words = f"{args.identity[:16]} {told(decision)}"
        reported.put(run / args.evaluation, reported.DECISION, f"The decision: {words}", decision=words)
    return decision


def _whole(args: PromoteArgs, context: Context) -> tuple[Path, Training]:
    """(the candidate's folder, its training's record).

    Raises:
        IntegrityError: it has not finished, or its model is damaged.
    """
    run = context.volumes.run(args.identity)
    training = contents.training(run)
    if training is None:
        raise IntegrityError("the training has not finished", where=str(run), remedy="run the flow first")
    if broken := records.broken_files(run / "model", training["model"]):
        raise IntegrityError("the candidate's model is damaged", where=str(run / "model"), value="; ".join(broken))
    return run, training


def _decision(args: PromoteArgs, checks: list[Check], over: str) -> Decision:
    """What a decision says before it is made."""
    return {
        "promoted": False,
        "checks": [check.as_dict() for check in checks],
        "champion": None,
        "identity": args.identity,
        "over": over,
        "rule": args.rule.model_dump(),
        "by": args.by,
        "time": time.time(),
        "evaluation": args.evaluation,
    }


def told(decision: Decision) -> str:
    """The decision in words, for people."""
    if decision["promoted"]:
        over = f"over {decision['over'][:16]}" if decision["over"] else "over the base"
        words = f"promoted {over}"
    else:
        unmet = [check for check in decision["checks"] if not check["passed"]]
        failed = [f"{check['name']}: {check['found']} (needed: {check['needed']})" for check in unmet]
        words = "is refused" + (f": {'; '.join(failed)}" if failed else "")
    return f"{words}{answered(decision)}"


def answered(decision: Decision) -> str:
    """Who was asked, and said what; empty where nobody was."""
    if (answer := decision.get("answer")) is None:
        return ""
    if answer["late"]:
        return f": {answer['reason']}"
    return f" by {answer['who'] or 'somebody'}: {answer['reason']}"


def _rollback(args: PromoteArgs, context: Context, folder: Path, held: Held) -> Decision:
    back = champions.before(folder)
    if back is None:
        remedy = "sft promote PROFILE IDENTITY puts a training in service"
        raise InputError("there is no champion to go back to", where=args.name, remedy=remedy)
    run = context.volumes.run(back.identity)
    training = contents.training(run)
    if training is None or records.broken_files(run / "model", training["model"]):
        raise IntegrityError("the champion before is no longer whole", where=str(run), remedy="train it again")
    held.check()
    champion = champions.swap(
        folder,
        name=args.name,
        identity=back.identity,
        model_identity=back.model_identity,
        by="rollback",
        over=back.over,
        evaluation=back.evaluation,
        fence=held.fence,
    )
    return {"promoted": True, "checks": [], "champion": champion.model_dump(), "over": back.over}


PROMOTE = Job("promote", PromoteArgs, promote)
