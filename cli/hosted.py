"""The process of a hosted run, in a container at Modal: ``python -m cli.hosted FOLDER``.

``FOLDER/request.json`` is a :class:`runs.hosting.Request`; ``FOLDER/outcome.json`` is written at the end, an outcome as
all our functions at Modal answer. :mod:`modal_infra.hosting` starts this process and tells it to stop.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from cli.base import consoles, say
from cli.flow_runs import prefect_defaults
from modal_infra.hosting import STOP
from runs import calls
from runs.hosting import Hosted, Request, hosting
from sft.errors import JobCancelled, SftError, Unchanged, to_wire
from sft.foreign import as_ours
from sft.store import records

if TYPE_CHECKING:
    from compute.base import Compute


def main(folder: Path) -> None:
    """Run the flow; whatever becomes of it is an outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the container's end: that is no wish of a person's
    signal.signal(STOP, _interrupt)
    os.environ.setdefault("DO_NOT_TRACK", "1")
    request = records.read_json(folder / "request.json")
    found = _outcome(lambda: _hosted(Request.model_validate(request)))
    records.write_json(folder / "outcome.json", found["value"] if found["ok"] else found)


def _outcome(body: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``body`` has come to, as plain data."""
    try:
        return {"ok": True, "value": body()}
    except KeyboardInterrupt:
        stopped = JobCancelled("the hosted run was cancelled", remedy="start it again: it goes on from what was saved")
        return {"ok": False, "error": to_wire(stopped)}
    except Exception as error:
        ours = as_ours(error) or error
        if not isinstance(ours, SftError):
            traceback.print_exc()
        print(f"error: {ours}", file=sys.stderr, flush=True)
        return {"ok": False, "error": to_wire(ours)}


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(STOP, signal.SIG_IGN)  # it may come twice, and the first one works
    raise KeyboardInterrupt(signal.Signals(number).name)


def _hosted(request: Request) -> dict[str, Any]:
    """The run's outcome; in the next container, too, where this one is taken away after the end.

    Raises:
        SftError: Modal does not answer, or another call works on the same run.
    """
    from compute.select import compute_for

    compute = compute_for(request.config)
    if other := _other(compute, request):
        raise Unchanged("this run works already", where=f"call {other}", remedy="sft cancel stops it")
    run = Hosted(request, compute)
    if run.outcome is not None:
        return run.outcome
    outcome = _outcome(lambda: _run(request, compute, run))
    with suppress(SftError):
        run.note(outcome=outcome)
    return outcome


def _run(request: Request, compute: Compute, run: Hosted) -> dict[str, Any]:
    """The flow, with the terminal's view in the call's log; what came of it.

    Raises:
        SftError: the first step that failed, also in the ledger.
    """
    prefect_defaults()
    from cli.run import run_flow, say_result
    from cli.temporary_server import prefect_api

    out, _ = consoles()
    with hosting(run):
        if run.containers > 1:
            say(out, f"container {run.containers} of this run; the one before was taken away")
        try:
            wait = prefect_api()
        except SftError as error:
            _tell_the_ledger(compute, request, error)
            raise
        result = run_flow(request.config, out, _told(wait, compute, request))
        say_result(out, result)
    return {"said": result} if isinstance(result, str) else {"identity": result.identity, "decision": result.decision}


def _other(compute: Compute, request: Request) -> str:
    """Another call that works on the same run: of last night's, or one that somebody has started."""
    known = calls.running_call(compute, request.key)
    if known and known != request.call_id:
        return known
    if not known:  # a schedule has started this one
        calls.noted(compute, request.key, request.call_id, "host")
    return ""


def _told(wait: Callable[[], None], compute: Compute, request: Request) -> Callable[[], None]:
    """``wait``, whose failure stands in the ledger, too: there is no other place where somebody would look."""

    def waiting() -> None:
        try:
            wait()
        except SftError as error:
            _tell_the_ledger(compute, request, error)
            raise

    return waiting


def _tell_the_ledger(compute: Compute, request: Request, error: SftError) -> None:
    """A run that never began, as Prefect cannot be reached."""
    from runs.ledger import begun, write

    entry = begun(request.config)
    entry.outcome, entry.error, entry.finished = "failed", str(error)[:2000], time.time()
    write(entry, compute, print)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
