"""The gate: may a candidate take the champion's place? A rule with numbers, decided on the held-out set.

A candidate passes only if it is better than the base *and* than the champion (where there is one) by the chosen metric,
beyond chance, if no task and no guard set got worse by more than is allowed, if its answers have not collapsed, and if
its export was checked. What is in doubt is refused: a worse model in service costs more than a better one that waits a
night.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sft.store.contents import Evaluation, Export, Model, Passed, Second

SHOWN = 6  # problems of an export that a decision names
Metric = Literal["error", "cer", "wer", "ned"]


class Rule(BaseModel):
    """What a candidate has to show. Rates and errors are fractions: 0.01 is one per cent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Metric = Field("error", description="error: each task by its own measure (text, table, formula, chart)")
    margin: float = Field(0.0, ge=0, le=1, description="How much better the candidate must be (absolute, fraction)")
    confidence: float = Field(
        0.95, ge=0.5, lt=1, description="Share of bootstrap draws in which it must be better than the other model"
    )
    task_worse: float = Field(0.02, ge=0, le=1, description="How much worse a single task may get (absolute, fraction)")
    guard_worse: float = Field(
        0.02,
        ge=0,
        le=1,
        description="How much worse than base or champion a guard set may be read: its error (absolute, fraction)",
    )
    empty: float = Field(0.02, ge=0, le=1, description="Share of rows with an empty answer, at most (fraction)")
    runaway: float = Field(0.02, ge=0, le=1, description="Share of rows with a far too long answer, at most (fraction)")
    cut: float = Field(
        0.02, ge=0, le=1, description="Share of answers cut off at evaluate.max_new_tokens, at most (fraction)"
    )
    min_rows: int = Field(20, ge=1, description="Held-out rows below which nothing is decided (rows)")
    min_documents: int = Field(
        10,
        ge=1,
        description="Documents below which nothing is decided, where they have several held-out rows each: all rows of "
        "a page are one witness (documents)",
    )


class Check(BaseModel):
    """One requirement of the gate: what was found, what is needed."""

    name: str
    passed: bool
    found: str
    needed: str

    def as_dict(self) -> Passed:
        """Plain data."""
        return Passed(name=self.name, passed=self.passed, found=self.found, needed=self.needed)


def decide(rule: Rule, evaluation: Evaluation, export: Export) -> list[Check]:
    """All requirements, passed or not; the candidate is promoted if all are passed.

    Args:
        evaluation: the record of the job evaluate.
        export: the record of the job check_export.
    """
    checks = [_enough(rule, evaluation), *_witnesses(rule, evaluation)]
    for model in evaluation["differences"]:
        checks += [_better(rule, evaluation, model), *_tasks(rule, evaluation, model)]
        checks += _guards(rule, evaluation, model)
    tuned = evaluation["tuned"]["all"]
    bounds: tuple[tuple[Literal["empty", "runaway"], float], ...] = (("empty", rule.empty), ("runaway", rule.runaway))
    for name, allowed in bounds:
        share, base = (s["all"][name] / max(evaluation["rows"], 1) for s in (evaluation["tuned"], evaluation["base"]))
        # A base that leaves rows empty (because they are) is the measure where the bound is stricter than it.
        needed = max(allowed, base) if name == "empty" else allowed
        found = f"{tuned[name]} of {evaluation['rows']} rows ({100 * share:.1f} %)"
        checks.append(Check(name=name, passed=share <= needed, found=found, needed=f"at most {100 * needed:.1f} %"))
    checks += _whole(rule, evaluation)
    problems = export.get("problems", ["it was not checked"])
    found = "; ".join(problems[:SHOWN]) + (f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else "")
    found = found or reproduced(export)
    checks.append(Check(name="export", passed=not problems, found=found, needed="loads, complete, same answers"))
    return checks


def reproduced(export: Export) -> str:
    """What a good check of an export came to, in words: by our reader, and by transformers."""
    ours = f"loads in a new process, {export['equal']} of {export['rows']} answers reproduced"
    second = export.get("transformers", Second(unchecked="the check is an older one"))
    if "unchecked" in second:
        return f"{ours}; by transformers not checked: {second['unchecked']}"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(second["versions"].items(), reverse=True))
    return f"{ours}; by {versions}: {second['equal']} of {second['rows']}"


def _enough(rule: Rule, evaluation: Evaluation) -> Check:
    rows = evaluation["rows"]
    of = evaluation.get("held_out", rows)
    found = str(rows) if rows == of else f"{rows} of {of}"
    return Check(name="rows", passed=rows >= rule.min_rows, found=found, needed=f"at least {rule.min_rows}")


def _witnesses(rule: Rule, evaluation: Evaluation) -> list[Check]:
    """Enough documents (evaluations that did not count them have nothing to say)."""
    if (documents := evaluation.get("documents")) is None or documents == evaluation["rows"]:
        return []
    found = f"{documents}, of {evaluation['rows']} rows"
    needed = f"at least {rule.min_documents}: sft split shares documents out"
    return [Check(name="documents", passed=documents >= rule.min_documents, found=found, needed=needed)]


def _whole(rule: Rule, evaluation: Evaluation) -> list[Check]:
    """Few answers were cut off (evaluations that did not count them have nothing to say)."""
    tuned, rows = evaluation["tuned"]["all"], max(evaluation["rows"], 1)
    if "cut" not in tuned:
        return []
    share = tuned["cut"] / rows
    found = f"{tuned['cut']} of {evaluation['rows']} answers ({100 * share:.1f} %)"
    needed = f"at most {100 * rule.cut:.1f} %: raise evaluate.max_new_tokens, unless answers repeat themselves"
    return [Check(name="cut", passed=share <= rule.cut, found=found, needed=needed)]


def _better(rule: Rule, evaluation: Evaluation, model: Model) -> Check:
    difference = evaluation["differences"][model]["all"].get(rule.metric)
    if difference is None:
        return Check(name=f"better than {model}", passed=False, found="no rows", needed="held-out rows")
    ours, theirs = (scores["all"][rule.metric] for scores in (evaluation["tuned"], evaluation[model]))
    found = (
        f"{rule.metric} {ours:.4f} against {theirs:.4f}: {difference['value']:+.4f} "
        f"[{difference['low']:+.4f}, {difference['high']:+.4f}], better in {100 * difference['better']:.1f} % of draws"
    )
    passed = difference["value"] < 0 and -difference["value"] >= rule.margin and difference["better"] >= rule.confidence
    needed = f"better by {rule.margin:g} or more, in {100 * rule.confidence:g} % of draws"
    return Check(name=f"better than {model}", passed=passed, found=found, needed=needed)


def _guards(rule: Rule, evaluation: Evaluation, model: Model) -> list[Check]:
    """What was not to be unlearned, each set by itself."""
    found = []
    for guard, judged in sorted(evaluation.get("guards", {}).items()):
        change = judged["differences"][model]["all"]["error"]
        ours, theirs = (judged["scores"][which]["all"]["error"] for which in ("tuned", model))
        said = f"error {ours:.4f} against {theirs:.4f}: {change['value']:+.4f} "
        said += f"[{change['low']:+.4f}, {change['high']:+.4f}]"
        name, needed = f"guard {guard} against {model}", f"worse by at most {rule.guard_worse:g}"
        found.append(Check(name=name, passed=change["value"] <= rule.guard_worse, found=said, needed=needed))
    return found


def _tasks(rule: Rule, evaluation: Evaluation, model: Model) -> list[Check]:
    """Each task by itself, where there are several."""
    found = []
    tasks = [name for name in evaluation["differences"][model] if name != "all"]
    for task in tasks if len(tasks) > 1 else []:
        change = evaluation["tuned"][task]["error"] - evaluation[model][task]["error"]
        name, needed = f"{task} against {model}", f"worse by at most {rule.task_worse:g}"
        found.append(Check(name=name, passed=change <= rule.task_worse, found=f"error {change:+.4f}", needed=needed))
    return found
