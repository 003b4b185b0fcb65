"""The app that hosts the flow: ``sft deploy --night`` deploys it, ``sft run PROFILE --hosted`` and a schedule call it.

Options that depend on the workspace (is there a secret?) and on what is asked for (when, which profile) are those of a
deployment, so the app is made when it is deployed; a container finds :func:`host` by its name.
"""

from __future__ import annotations

import json
import os
import traceback
from asyncio import CancelledError
from typing import Any

import modal
from modal.exception import InputCancellation

from modal_infra.attempts import counted
from modal_infra.entries import DictEntries
from modal_infra.hosting import NextContainer, host_flow, request_of
from modal_infra.image import night_image
from modal_infra.names import HOST, HOST_CPU, HOST_MEMORY_MB, NIGHT
from sft.errors import to_wire
from sft.foreign import as_ours

HOURS = 3600  # seconds
# An attempt may take 24 h at most, and each has its own (guide/timeouts): a run that takes longer ends its container a
# little before, and goes on in the next.
ATTEMPT, ATTEMPTS, BEFORE = 24 * HOURS, 10, HOURS // 4
SECONDS = "SFT_HOST_SECONDS"  # the environment variable with a shorter time, to see that happen
REQUEST = "SFT_NIGHT"  # the environment variable with what a schedule runs


def night_app(
    secrets: list[modal.Secret], request: dict[str, Any] | None = None, cron: str = "", timezone: str = "UTC"
) -> modal.App:
    """The app, to be deployed.

    Args:
        secrets: those of the function.
        request: what every night runs (see :func:`modal_infra.hosting.host_flow`); None for no nights.
        cron: when, as crontab says it, in ``timezone``.
    """
    app = modal.App(NIGHT)
    if request is not None:
        secrets = [*secrets, modal.Secret.from_dict({REQUEST: json.dumps(request)})]
    app.function(
        name=HOST,
        image=night_image(),
        secrets=secrets,
        cpu=HOST_CPU,
        memory=HOST_MEMORY_MB,
        timeout=ATTEMPT,
        retries=modal.Retries(max_retries=ATTEMPTS, initial_delay=1.0, backoff_coefficient=1.0),
        schedule=modal.Cron(cron, timezone=timezone) if request is not None else None,
        single_use_containers=True,  # a run finds nothing of an earlier one's on the disk
    )(host)
    return app


def host(args: dict[str, Any] | None = None) -> dict[str, Any]:
    """A run of the flow, to its end: ``{"ok": …}`` as all our functions answer. None: the deployment's own night.

    A failed run is an answer, not an exception: Modal tries again only what it has itself ended.
    """
    try:
        with counted(DictEntries(), modal.current_input_id() or ""):
            request = request_of(REQUEST) if args is None else args
            seconds = float(os.environ.get(SECONDS, ATTEMPT - BEFORE))
            return host_flow(request, modal.current_function_call_id() or "", seconds)
    except (KeyboardInterrupt, GeneratorExit, CancelledError, InputCancellation, NextContainer):
        raise
    except BaseException as error:
        traceback.print_exc()
        return {"ok": False, "error": to_wire(as_ours(error) or error)}
