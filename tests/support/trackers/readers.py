"""Run in the environment of the clients: says as JSON what a tracker has. See the package's docstring."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768  # bytes


def mlflow(url: str, name: str) -> dict[str, Any]:
    """Runs of the experiment, and the versions and aliases of the registered model."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(url, url)
    experiment = client.get_experiment_by_name(name)
    runs = []
    for run in client.search_runs([experiment.experiment_id], max_results=100) if experiment else []:
        histories = {
            key: [[m.step, m.timestamp, m.value] for m in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        artifacts = [file.path for file in client.list_artifacts(run.info.run_id)]
        report = ""
        if "report.html" in artifacts:
            report = Path(client.download_artifacts(run.info.run_id, "report.html")).read_text()
        said = {"id": run.info.run_id, "status": run.info.status, "params": run.data.params, "tags": run.data.tags}
        runs.append({**said, "metrics": histories, "artifacts": artifacts, "report": report})
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException:
        aliases = {}
    versions = {str(v.version): dict(v.tags) for v in client.search_model_versions(f"name = '{name}'")}
    return {"runs": runs, "aliases": {k: str(v) for k, v in aliases.items()}, "versions": versions}


def wandb(path: str) -> dict[str, Any]:
    """Of a run-ID.wandb file: the run, its configuration, its lines and its summary."""
    from wandb.proto import wandb_internal_pb2 as pb

    said: dict[str, Any] = {"config": {}, "lines": [], "summary": {}, "tags": [], "artifacts": []}
    for record in records(Path(path)):
        one = pb.Record.FromString(record)
        kind = one.WhichOneof("record_type")
        if kind == "run":
            said |= {"id": one.run.run_id, "entity": one.run.entity, "project": one.run.project}
            said["tags"] = list(one.run.tags)
            said["config"] |= {u.key or ".".join(u.nested_key): json.loads(u.value_json) for u in one.run.config.update}
        elif kind == "config":
            said["config"] |= {u.key or ".".join(u.nested_key): json.loads(u.value_json) for u in one.config.update}
        elif kind == "history":
            items = {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in one.history.item}
            said["lines"].append({**items, "step": one.history.step.num})
        elif kind == "summary":
            said["summary"] |= {u.key or ".".join(u.nested_key): json.loads(u.value_json) for u in one.summary.update}
        elif kind == "artifact":
            said["artifacts"].append(one.artifact.name)
    return said


def swanlab(path: str) -> dict[str, Any]:
    """Of a run-ID.swanlab file: the run, and each scalar as [step, value]."""
    from google.protobuf.json_format import MessageToDict
    from swanlab.proto.swanlab.record.v1 import record_pb2

    said: dict[str, Any] = {"records": []}
    for record in records(Path(path)):
        said["records"].append(MessageToDict(record_pb2.Record.FromString(record), preserving_proto_field_name=True))
    return said


def records(path: Path) -> Iterator[bytes]:
    """The records of a log."""
    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
