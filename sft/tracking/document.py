"""What a tracker is told of a training: one JSON document, a pure function of the run's own records.

Equal records give an equal document, so that a run that found everything done sends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from sft.errors import without_secrets
from sft.store import records
from sft.store.contents import Change, Decision, Evaluation, Scored

Outcome = Literal["running", "finished", "failed", "cancelled"]
METRICS = ("cer", "error", "wer", "ned", "exact", "structure", "boxes")  # of Scored, in the order of a chart's list
LONGEST = 4000  # characters of a parameter's value or of an error (MLflow takes 6000, older servers less)


class Document(TypedDict):
    """A training as trackers show it; times are Unix times in seconds, losses nats per token, rates fractions.

    ``curve`` are the trainer's lines (step, time, loss, learning_rate, rate), ``dev`` what checkpoints came to on the
    dev rows (step, time, cer, error, …). ``scores`` have slashes: ``tuned/cer``, ``tuned/cer_low``,
    ``base/table/cer``, ``tuned_minus_base/error_better``. ``report`` is the page's path on the outputs volume.
    """

    identity: str
    name: str
    outcome: Outcome
    error: str
    started: float
    finished: float
    params: dict[str, str]
    tags: dict[str, str]
    curve: list[dict[str, float]]
    dev: list[dict[str, float]]
    steps: int
    scores: dict[str, float]
    scored: float
    decision: NotRequired[Decision]
    said: str
    report: str
    model: dict[str, Any]


def fingerprint(document: Document) -> str:
    """What tells two documents apart."""
    return records.fingerprint(document)


def points(lines: Iterable[Mapping[str, Any]], end: float) -> list[dict[str, float]]:
    """The curve, each step once with a real time.

    Args:
        lines: of metrics.jsonl. Lines of before have no time: theirs is reckoned back from the next one's, by the rate
            that the trainer told (steps per second).
        end: when the training ended, for lines behind which none has a time.
    """
    by_step = {int(line["step"]): line for line in lines}
    found: list[dict[str, float]] = []
    later, after = end, max(by_step, default=0)
    for step in sorted(by_step, reverse=True):
        line = by_step[step]
        took = (after - step) / rate if (rate := float(line.get("rate") or 0)) > 0 else 0.0
        later, after = float(line.get("time") or later - took), step
        values = {name: float(line[name]) for name in ("loss", "learning_rate", "rate") if line.get(name) is not None}
        found.append({"step": step, "time": later, **values})
    return found[::-1]


def at_their_times(dev: Iterable[Mapping[str, float]], curve: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The dev rows' scores (step, cer, …), each with the time of the curve's last step before."""
    found = []
    for score in dev:
        times = [point["time"] for point in curve if point["step"] <= score["step"]]
        found.append({**score, "time": times[-1] if times else curve[0]["time"] if curve else 0.0})
    return found


def scores(evaluation: Evaluation | None) -> dict[str, float]:
    """Scores of base, champion and tuned model with their 95 % intervals, and the tuned one's differences.

    Example: ``{"tuned/cer": 0.1, "tuned/cer_low": 0.08, "tuned/cer_high": 0.13, "tuned_minus_base/cer": -0.6, …}``.
    """
    if evaluation is None:
        return {}
    found: dict[str, float] = {}
    for model in evaluation["models"]:
        found |= _scores(model, evaluation[model])
    for other, changes in evaluation["differences"].items():
        found |= _changes(f"tuned_minus_{other}", changes)
    for name, guarded in evaluation.get("guards", {}).items():
        for model, scored in guarded["scores"].items():
            found |= _scores(f"guard_{_plain(name)}/{model}", scored)
    return found


def _scores(prefix: str, groups: Mapping[str, Scored]) -> dict[str, float]:
    found: dict[str, float] = {}
    for group, scored in groups.items():
        values: Mapping[str, Any] = scored
        place = prefix if group == "all" else f"{prefix}/{_plain(group)}"
        found |= {f"{place}/{name}": float(values[name]) for name in METRICS if values.get(name) is not None}
        for name, (low, high) in scored["intervals"].items():
            found |= {f"{place}/{name}_low": float(low), f"{place}/{name}_high": float(high)}
    return found


def _changes(prefix: str, groups: Mapping[str, Mapping[str, Change]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for group, changes in groups.items():
        place = prefix if group == "all" else f"{prefix}/{_plain(group)}"
        for name, change in changes.items():
            found[f"{place}/{name}"] = change["value"]
            found |= {f"{place}/{name}_{which}": change[which] for which in ("low", "high", "better")}
    return found


def _plain(name: str) -> str:
    """A group's name with what every tracker takes in a metric's: letters, digits, -, _ and full stops."""
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-")


def shown(values: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Dotted key → value, as texts without secrets and not longer than trackers take."""
    return {key: without_secrets(str(value))[:LONGEST] for key, value in values}
