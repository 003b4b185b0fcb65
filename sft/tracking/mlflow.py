"""MLflow: a run for each training identity, found by its tag; the champion is an alias of a registered version."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sft.tracking.program import TAG, main, reach, rows

BATCH = 1000  # metrics that MLflow takes at once
FEW = 100  # parameters or tags that it takes at once
STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
ALIAS = "champion"
NUMBER = "sft.champion"  # tag of the registered model: the number of the promotion that the alias shows
T = TypeVar("T")


def send(request: dict[str, Any]) -> dict[str, Any]:
    """Make or go on with the run; what stands there already is not sent again.

    Raises:
        ConnectionError: nobody answers.
    """
    from mlflow import MlflowClient

    target = request["target"]
    reach(target)
    client, document = MlflowClient(tracking_uri=target, registry_uri=target), request["document"]
    url = ""
    if document:
        run = _run(client, document["name"], document["identity"], document)
        _values(client, run, document)
        _artifacts(client, run, document, request["files"])
        status = STATUS[document["outcome"]]
        if status == "RUNNING":
            client.update_run(run.info.run_id, status=status)
        else:
            client.set_terminated(run.info.run_id, status, int(1000 * document["finished"]))
        url = f"{target}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    if request["champion"]:
        _serve(client, request["champion"])
    return {"url": url}


def _run(client: Any, name: str, identity: str, document: dict[str, Any] | None = None) -> Any:
    """The run of a training: the one with its tag, or a new one."""
    experiment = client.get_experiment_by_name(name)
    place = experiment.experiment_id if experiment else client.create_experiment(name)
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        client.restore_experiment(place)
    found = client.search_runs([place], f"tags.`{TAG}` = '{identity}'", order_by=["attributes.start_time ASC"])
    if found:
        return found[0]
    started = int(1000 * document["started"]) if document else None
    return client.create_run(place, start_time=started, tags={TAG: identity}, run_name=f"{name}-{identity[:8]}")


def _values(client: Any, run: Any, document: dict[str, Any]) -> None:
    """Parameters, tags and metrics. A parameter cannot be changed in MLflow: the first value stays, the newest
    configuration is an artifact. Of the curve the steps that are not there yet are sent.
    """
    from mlflow.entities import Metric, Param, RunTag

    identity, known = run.info.run_id, run.data
    params = [Param(key, value) for key, value in document["params"].items() if key not in known.params]
    tags = [RunTag(key, value) for key, value in document["tags"].items() if known.tags.get(key) != value]
    for some in _batches(params, FEW):
        client.log_batch(identity, params=some)
    for some in _batches(tags, FEW):
        client.log_batch(identity, tags=some)
    there: dict[str, set[int]] = {}
    metrics = []
    for step, when, values in rows(document):
        for key, value in values.items():
            if key not in there:
                there[key] = (
                    {m.step for m in client.get_metric_history(identity, key)} if key in known.metrics else set()
                )
            if step not in there[key]:
                metrics.append(Metric(key, value, int(1000 * when), step))
    for key, value in document["scores"].items():
        if known.metrics.get(key) != value:
            metrics.append(Metric(key, value, int(1000 * document["scored"]), document["steps"]))
    for some in _batches(metrics, BATCH):
        client.log_batch(identity, metrics=some)


def _batches(found: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    yield from (found[start : start + size] for start in range(0, len(found), size))


def _artifacts(client: Any, run: Any, document: dict[str, Any], files: dict[str, str]) -> None:
    """The report, the configuration and the decision; a file of the same name is replaced."""
    with tempfile.TemporaryDirectory() as folder:
        made = {"configuration.json": document["params"], "model/model.json": document["model"]}
        made |= {"decision.json": document["decision"]} if "decision" in document else {}
        for name, value in made.items():
            path = Path(folder) / Path(name).name
            path.write_text(json.dumps(value, indent=2, sort_keys=True))
            client.log_artifact(run.info.run_id, str(path), str(Path(name).parent) if "/" in name else None)
    for given in files.values():
        client.log_artifact(run.info.run_id, given)


def _serve(client: Any, champion: dict[str, Any]) -> None:
    """Let the alias point to the champion's version, which is registered if it is not; never back to an earlier one.

    The version's source is the run's artifact ``model/``, which says where the weights lie: they stay on the volume.
    """
    from mlflow.exceptions import MlflowException

    name, identity = champion["name"], champion["identity"]
    try:
        known = client.get_registered_model(name)
    except MlflowException:
        known = client.create_registered_model(
            name, description="Champions of paddleocr-vl-sft; weights stay on its volumes"
        )
    if int(known.tags.get(NUMBER, 0)) > champion["number"]:
        return
    versions = [v for v in client.search_model_versions(f"name = '{name}'") if v.tags.get(TAG) == identity]
    if versions:
        version = min(versions, key=lambda one: int(one.version))
    else:
        run = _run(client, name, identity)
        where = f"runs:/{run.info.run_id}/model"
        version = client.create_model_version(name, where, run.info.run_id, tags={TAG: identity})
    if known.aliases.get(ALIAS) != version.version:
        client.set_registered_model_alias(name, ALIAS, version.version)
    client.set_registered_model_tag(name, NUMBER, str(champion["number"]))


if __name__ == "__main__":
    main(send)
