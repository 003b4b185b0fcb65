"""SwanLab: a run whose id is the training's identity, resumed where it is there already.

SwanLab takes no step of a metric up to the last one that it has (``resume="allow"``, https://docs.swanlab.cn). A line
has the time when it was sent; when it was told stands in the metric ``train/time``. ``SWANLAB_MODE=offline`` writes a
folder for ``swanlab sync`` instead.
"""

from __future__ import annotations

import os
from typing import Any

from sft.tracking.program import main, rows, send_by

HOST = "https://api.swanlab.cn"


def send(request: dict[str, Any]) -> dict[str, Any]:
    """Make or go on with the run.

    Raises:
        ConnectionError: nobody answers.
    """
    online = os.environ.get("SWANLAB_MODE", "online") in ("online", "cloud")
    return send_by(request, "swanlab", online, os.environ.get("SWANLAB_API_HOST", HOST), _run)


def _run(swanlab: Any, request: dict[str, Any], folder: str) -> str:
    """Where the run is shown; empty where nothing but files was written."""
    document = request["document"]
    workspace, _, project = request["target"].partition("/")
    identity = document["identity"][:16]
    # This machine is not the one that trained: nothing is said of it.
    probe = dict.fromkeys(("hardware", "runtime", "requirements", "conda", "git", "monitor"), False)
    run = swanlab.init(
        workspace=workspace,
        project=project,
        id=identity,
        name=f"{document['name']}-{identity[:8]}",
        group=document["name"],
        tags=[document["name"], document["outcome"], identity],
        description=document["said"] or document["error"][:200] or None,
        resume="allow",
        log_dir=folder,
        settings=swanlab.Settings(probe=probe, interactive=False, terminal={"proxy_type": "none"}),
        config={**document["params"], **document["tags"], "identity": document["identity"]},
    )
    for step, when, values in rows(document):
        run.log({**values, "train/time": when}, step=step)
    if document["scores"]:
        run.log(document["scores"], step=document["steps"])
    for name, path in request["files"].items():
        with open(path, encoding="utf-8") as page:
            run.log({name.partition(".")[0]: swanlab.Html(page)}, step=document["steps"])
    url = str(run.url or "") if run.mode == "online" else ""
    if document["outcome"] in ("failed", "cancelled"):
        run.finish(state="crashed", error=document["error"] or document["outcome"])
    else:
        run.finish()
    return url


if __name__ == "__main__":
    main(send)
