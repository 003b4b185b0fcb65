"""Weights & Biases: a run whose id is the training's identity, resumed where it is there already.

W&B takes no step behind the last one that it has: a resent line is dropped by its step (https://docs.wandb.ai/guides/track/log).
``WANDB_MODE=offline`` writes a file for ``wandb sync`` instead.
"""

from __future__ import annotations

import os
from typing import Any

from sft.tracking.program import main, rows, send_by

HOST = "https://api.wandb.ai"


def send(request: dict[str, Any]) -> dict[str, Any]:
    """Make or go on with the run.

    Raises:
        ConnectionError: nobody answers.
    """
    online = os.environ.get("WANDB_MODE", "online") == "online"
    return send_by(request, "wandb", online, os.environ.get("WANDB_BASE_URL", HOST), _run)


def _run(wandb: Any, request: dict[str, Any], folder: str) -> str:
    """Where the run is shown, or the file that was written."""
    document = request["document"]
    entity, _, project = request["target"].partition("/")
    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=60,
        login_timeout=30,
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,  # this machine is not the one that trained
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    identity = document["identity"][:16]
    run = wandb.init(
        entity=entity,
        project=project,
        id=identity,
        name=f"{document['name']}-{identity[:8]}",
        group=document["name"],
        tags=sorted({document["name"], document["outcome"], identity}),
        resume="allow",
        dir=folder,
        settings=settings,
    )
    _values(run, document)
    for name, path in request["files"].items():
        artifact = wandb.Artifact(f"{name.partition('.')[0]}-{identity}", type="report")
        artifact.add_file(path, name=name)
        run.log_artifact(artifact)
    url = run.url or run.settings.sync_file or ""
    run.finish(exit_code=1 if document["outcome"] in ("failed", "cancelled") else 0)
    return str(url)


def _values(run: Any, document: dict[str, Any]) -> None:
    run.config.update({**document["params"], "identity": document["identity"]}, allow_val_change=True)
    begin = run.step  # behind the last step that is there
    for step, when, values in rows(document):
        if step >= begin:
            run.log({**values, "_timestamp": when}, step=step)
    run.summary.update({**document["scores"], **document["tags"], "decision": document["said"]})


if __name__ == "__main__":
    main(send)
