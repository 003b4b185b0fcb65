"""What trackers are told of a training, gathered from what lies on the volumes. Needs no Prefect."""

from __future__ import annotations

from typing import Any, cast

from compute.base import Compute
from compute.records import read_json
from runs.calls import running_call, training_key
from runs.ledger import Entry, read_ledger
from runs.results import dev_scores, finished_training, newest_evaluation
from sft.config import RunConfig
from sft.config.profiles import leaves
from sft.store import champions
from sft.store.appended import entries
from sft.store.contents import Decision, Evaluation, Training
from sft.store.dev import as_point
from sft.store.volumes import run_place
from sft.tracking.document import LONGEST, Document, Outcome, at_their_times, points, scores, shown

LOOKED = 200  # newest runs of the ledger among which the one of a training is looked for
OUTCOMES: dict[str, Outcome] = {
    **{"running": "running", "detached": "running", "completed": "finished"},
    **{"failed": "failed", "crashed": "failed", "cancelled": "cancelled"},
}
PRIVATE = {"notify", "track"}  # sections that say who is told, nothing of the training


def gathered(config: RunConfig, compute: Compute, entry: Entry, *, own: bool = True) -> Document:
    """What is known of the training ``entry.identity`` now.

    Args:
        entry: the ledger's of the run.
        own: is ``config`` what the run was made with? Else the parameters are those of the training's record alone.
    """
    training = finished_training(compute, entry.identity)
    evaluation = _evaluation(compute, entry.identity)
    decision = _decision(config.name, compute, entry.identity)
    ended = training["finished"] if training else entry.finished
    curve = points(_lines(compute, entry.identity), ended)
    begun = ended - training["seconds"] if training else entry.started
    started = curve[0]["time"] if curve else begun
    told = Document(
        identity=entry.identity,
        name=config.name,
        outcome=OUTCOMES.get(entry.outcome, "finished"),
        error=entry.error[:LONGEST],
        started=min(started, begun) if training else started,
        finished=_finished(training, evaluation, curve, entry),
        params=_params(config if own else None, training, entry),
        tags=_tags(training, entry),
        curve=curve,
        dev=at_their_times(map(as_point, dev_scores(compute, entry.identity)), curve),
        steps=training["steps"] if training else int(curve[-1]["step"]) if curve else 0,
        scores=scores(evaluation),
        scored=float(evaluation.get("finished", ended)) if evaluation else ended,
        said=_said(decision),
        report=f"{evaluation['folder']}/report.html" if evaluation and "folder" in evaluation else "",
        model=_model(compute, training),
    )
    return told if decision is None else {**told, "decision": decision}


def entry_of(config: RunConfig, compute: Compute, identity: str) -> Entry | None:
    """The ledger's newest entry of a training; one made of the training's record where the ledger has none.

    Args:
        identity: of the training; 16 digits suffice.
    Returns: None where there is neither.
    """
    found = [e for e in read_ledger(compute, last=LOOKED) if e.identity and e.identity.startswith(identity[:16])]
    if found:
        return found[-1]
    training = finished_training(compute, identity)
    if training is None:
        return None
    times = {"started": training["finished"] - training["seconds"], "finished": training["finished"]}
    known = {"engine": training["engine"], "engine_version": training["engine_version"], "dataset": training["dataset"]}
    return Entry(
        id="",
        name=training["name"],
        outcome="completed",
        identity=training["identity"],
        **times,
        **known,
    )


def settled(compute: Compute, entry: Entry) -> Entry:
    """The entry as it is now: a training that was left to itself may have finished, or may have been stopped."""
    if OUTCOMES.get(entry.outcome) != "running":
        return entry
    if finished_training(compute, entry.identity) is not None:
        return entry.model_copy(update={"outcome": "completed"})
    working = running_call(compute, training_key(entry.identity))
    return entry if working else entry.model_copy(update={"outcome": "crashed", "error": "the training has stopped"})


def _lines(compute: Compute, identity: str) -> list[dict[str, Any]]:
    return list(entries(compute.read("outputs", f"{run_place(identity)}/metrics.jsonl") or b""))


def _evaluation(compute: Compute, identity: str) -> Evaluation | None:
    files = (file.path for file in compute.list("outputs", f"{run_place(identity)}/evaluation"))
    return newest_evaluation(compute, files, identity)


def _decision(name: str, compute: Compute, identity: str) -> Decision | None:
    """The gate's newest decision on the training, without the held-out rows' keys."""
    folder = f"{champions.place(name)}/decisions"
    places = [file.path for file in compute.list("outputs", folder) if f"/{identity[:16]}-" in file.path]
    found = [said for place in places if (said := read_json(compute, "outputs", place)) is not None]
    newest = max(found, key=lambda said: float(said.get("time", 0)), default=None)
    return cast("Decision", {k: v for k, v in newest.items() if k != "rows"}) if newest else None


def _said(decision: Decision | None) -> str:
    """The decision in one line."""
    if decision is None:
        return ""
    if decision["promoted"]:
        return f"promoted over {decision['over'][:16] or 'the base'}"
    unmet = [f"{c['name']}: {c['found']} (needed: {c['needed']})" for c in decision["checks"] if not c["passed"]]
    return f"refused: {'; '.join(unmet)}"


def _finished(
    training: Training | None, evaluation: Evaluation | None, curve: list[dict[str, float]], entry: Entry
) -> float:
    """When the last that is told of happened: not when a run has found it done again."""
    times = [training["finished"]] if training else [point["time"] for point in curve[-1:]]
    times += [float(evaluation["finished"])] if evaluation and "finished" in evaluation else []
    return max(times, default=entry.finished)


def _params(config: RunConfig | None, training: Training | None, entry: Entry) -> dict[str, str]:
    """The resolved configuration by dotted keys, and as ``spec.…`` the hyperparameters that the trainer was given."""
    values = list(leaves(config.model_dump(mode="json", exclude=PRIVATE))) if config is not None else []
    spec = leaves({"spec": training["spec"]}) if training else []
    return shown([*values, *spec, ("steps", entry.steps or (training["steps"] if training else 0))])


def _tags(training: Training | None, entry: Entry) -> dict[str, str]:
    found: dict[str, Any] = {
        "sft.identity": entry.identity,
        "sft.name": entry.name,
        "sft.profile": entry.profile,
        "sft.engine": f"{entry.engine} {entry.engine_version}".strip(),
        "sft.dataset": entry.dataset,
        "sft.base_model": entry.base_model,
        "sft.gpu": entry.gpu,
        "sft.compute": entry.compute,
        "sft.commit": entry.git,
        "sft.outcome": entry.outcome,
        "sft.decision": entry.decision,
        "sft.error": entry.error,
    }
    if training:
        found |= {"sft.training_seconds": f"{training['seconds']:.0f}", "sft.model": training["model_identity"]}
    if entry.cost is not None and entry.trained:  # a run that found it trained has paid nothing for it
        found["sft.cost"] = f"{entry.cost:.2f} {entry.currency}"
    return shown((key, value) for key, value in found.items() if value)


def _model(compute: Compute, training: Training | None) -> dict[str, Any]:
    """Where the model lies and what it consists of, by hashes: the weights themselves stay on the volume."""
    if training is None:
        return {}
    place = f"{run_place(training['identity'])}/model"
    volume = "paddleocr-vl-outputs" if compute.name == "modal" else "outputs"
    found = {"identity": training["identity"], "model_identity": training["model_identity"], "files": training["model"]}
    return {**found, "compute": compute.name, "volume": volume, "path": place}
