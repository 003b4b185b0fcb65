"""What every function of the apps does with its job: reload the volumes, run it, commit, answer with plain data."""

from __future__ import annotations

import signal
import traceback
from asyncio import CancelledError
from contextlib import ExitStack
from functools import partial
from types import FrameType
from typing import Any

import modal
from modal.exception import InputCancellation, InvalidError, NotFoundError, OutputExpiredError

from modal_infra.attempts import counted
from modal_infra.entries import DictEntries
from modal_infra.outcomes import is_the_calls
from modal_infra.volumes import BRIEF, MOUNTED, PATIENCE, commit, refresh
from sft import jobs
from sft.context import Context
from sft.errors import TransientError, to_wire
from sft.foreign import as_ours
from sft.store.lease import Shared


def run_job(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """Reload the volumes, run the job, commit; the outcome as plain data, whatever is raised on the way.

    What ends the container itself goes on: Modal starts the input again elsewhere, or it was cancelled.
    """
    try:
        entries = DictEntries()
        shared = Shared(refresh=refresh, publish=commit, is_running=is_running, entries=entries)
        call_id = modal.current_function_call_id() or ""
        # In the middle of a training, whose trainer reads from the other volumes: a commit may reload what it commits.
        try_commit = partial(commit, BRIEF, ("outputs",))
        context = Context(MOUNTED, call_id, commit=commit, try_commit=try_commit, shared=shared)
        signal.signal(signal.SIGTERM, _stop)
        with ExitStack() as at_last:
            at_last.enter_context(counted(entries, modal.current_input_id() or ""))
            context.event("job", name=name)  # whoever follows sees that it runs, before a lease is agreed upon
            refresh()
            # Also when Modal takes the machine away (SIGINT), cancels the input or ends the container (SIGTERM).
            at_last.push(_commit_at_last)
            return {"ok": True, "value": jobs.find(name).run(args, context)}
    except (KeyboardInterrupt, GeneratorExit, CancelledError, InputCancellation):
        raise
    except BaseException as error:  # SystemExit too, and the panics of extensions that are written in Rust
        traceback.print_exc()
        return {"ok": False, "error": to_wire(as_ours(error) or error)}


def _commit_at_last(kind: type[BaseException] | None, *_: object) -> None:
    """Whatever the job has ended with; where it has a result the result counts only if it is durable."""
    try:
        commit(PATIENCE if kind is None else BRIEF)
    except TransientError:
        if kind is None:
            raise
        traceback.print_exc()  # what the job itself has ended with counts


def _stop(number: int, frame: FrameType | None) -> None:
    """Python would end at once at SIGTERM, with nothing committed and the trainer still running."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


def is_running(call_id: str) -> bool:
    """Has Modal no end of that call yet? In doubt it runs: two trainings at once are worse than one that waits."""
    if not call_id.startswith("fc-"):  # none of Modal's calls; the client's answer would leave that in doubt
        return False
    try:
        modal.FunctionCall.from_id(call_id).get(timeout=0)
    except (OutputExpiredError, NotFoundError, InvalidError):
        return False  # it ended long ago, or there never was one
    except (KeyboardInterrupt, GeneratorExit, CancelledError, InputCancellation) as error:
        if not is_the_calls(error):
            raise
        return False
    except BaseException as error:
        return not is_the_calls(error)
    return False
