"""Start a job or attach to it, follow it to its end, and stop it when the run is cancelled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal

from compute.base import Compute
from runs import calls, waiting
from runs.signals import held_back
from sft.context import read_event
from sft.errors import BudgetExceeded, Detached, JobCancelled, JobDied, LeaseHeld, SftError
from tasks.telling import pass_on, tell

AT_ONCE = 16  # calls that are started or stopped side by side: each start asks Modal four times
ASK = 3.0  # seconds between two looks at the run's state: was it cancelled in the UI?

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# The loss comes as an event, and PaddleFormers tells about every file that it opens.
_NOISE = (
    *("DEBUG", "[    INFO] - ", "[ WARNING] - ", "[DataLoad", "Warning", "warnings.warn", "- loss: "),
    *("OMP_NUM_THREADS", "PyTorch was not found", "you can already use PaddleOCRVL"),
)
_DUMP = re.compile(r'\s*("[\w.]+":.*|[\[\]{}]+,?|-?[\d.]+,?)')  # a line of a configuration that is printed as JSON
RESUME = "run again to resume from the newest checkpoint"

OnEvent = Callable[[dict[str, Any]], None]


def run_job(
    compute: Compute, key: str, job: str, args: dict[str, Any], on_event: OnEvent = pass_on, *, long: bool = False
) -> dict[str, Any]:
    """Run a job to its end, or attach to the call that works on the same ``key`` already.

    Args:
        key: names the job's result. The call id is kept on the outputs volume under this key.
        on_event: hears the job's events.
        long: a detached run does not wait for it.
    Raises:
        SftError: the job's own error.
        Detached: the run was asked to leave it to itself.
    """
    try:
        call_id = attach_or_start(compute, key, job, args)
        while True:
            if long:
                leave_running(call_id)
            try:
                return follow(compute, call_id, on_event)
            except LeaseHeld as held:
                if not held.value or held.value == call_id or compute.poll(held.value).state != "running":
                    raise
                call_id = held.value
                calls.attached(compute, key, call_id)  # sft status and sft cancel look it up there
                tell(f"{job}: call {call_id} works on the same; attached to it")
    except _SIGNALS as signal:
        # Between the start and the following, or between two callers: the call is known by its key alone.
        if running := calls.running_call(compute, key):
            stop(compute, _name(signal), running)
        raise _stopped(signal, key) from None


def run_side_by_side(compute: Compute, job: str, args: Mapping[str, dict[str, Any]]) -> None:
    """Run a job once for each key of ``args``, all at the same time, and follow them to their end.

    A signal that comes while they are started acts when all are; what stops one stops all.

    Raises:
        SftError: the first job's own error; the others work on, and the next run attaches to them.
        JobCancelled: the jobs were stopped.
    """
    if not args:
        return
    try:
        with held_back(), ThreadPoolExecutor(AT_ONCE) as pool:
            started = list(pool.map(lambda key: calls.attach_or_start(compute, key, job, args[key])[0], args))
        tell(f"{job}: {len(started)} calls work side by side, each on its share")
        for call_id in started:
            follow(compute, call_id, pass_on)
    except (*_SIGNALS, JobCancelled) as ended:
        if others := list(filter(None, (calls.running_call(compute, key) for key in args))):
            stop(compute, _name(ended), *others)
        if isinstance(ended, JobCancelled):
            raise
        raise _stopped(ended, job) from None


def leave_running(call_id: str) -> None:
    """Leave the job to itself, where the run was asked to.

    Raises:
        Detached: it was.
    """
    if _DETACH:
        raise Detached("the job runs on; nobody waits for it here", value=call_id)


@contextmanager
def detached() -> Iterator[None]:
    """Runs in the block leave their training to itself as soon as it has started."""
    _DETACH.append(True)
    try:
        yield
    finally:
        _DETACH.pop()


_DETACH: list[bool] = []


def attach_or_start(compute: Compute, key: str, job: str, args: dict[str, Any]) -> str:
    """The id of the running call for ``key``, or of a new one."""
    call_id, new = calls.attach_or_start(compute, key, job, args)
    link = compute.link(call_id)
    if not new:
        tell(f"{job}: attached to call {call_id}, which is running ({link})")
        return call_id
    tell(f"{job}: started call {call_id} ({link})")
    if link.startswith("http"):
        create_link_artifact(link, key="call", link_text=f"{job} at Modal")
    return call_id


def follow(compute: Compute, call_id: str, on_event: OnEvent) -> dict[str, Any]:
    """Follow a call to its end; a run cancelled in Prefect, Ctrl-C and SIGTERM stop it.

    An ordinary error leaves the job alone: the next run attaches to it.

    Raises:
        SftError: the job's own error.
        JobCancelled: the job was stopped.
    """
    asked = 0.0

    def hear(line: str) -> None:
        event = read_event(line)
        if event is not None and event["event"] == "note":
            tell(event["text"])
        elif event is not None:
            on_event(event)
        elif _is_news(plain := _COLOURS.sub("", line)):
            get_run_logger().info(plain)

    def look(worked: float) -> None:
        nonlocal asked
        if worked - asked > ASK:
            asked = worked
            if run_is_cancelling():
                raise JobCancelled("the run was cancelled in Prefect", where=call_id, remedy=RESUME)

    try:
        return waiting.follow(compute, call_id, hear, look)
    except (JobCancelled, BudgetExceeded, JobDied) as ended:
        if isinstance(ended, JobDied) or _has_ended(compute, call_id):
            if who := calls.stopped_by(compute, call_id):  # another run, or sft cancel
                raise JobCancelled(f"the job was stopped by {who}", where=call_id, remedy=RESUME) from ended
        else:
            stop(compute, _name(ended), call_id, goes_on=_goes_on(ended))
        raise
    except _SIGNALS as signal:
        stop(compute, _name(signal), call_id)
        raise _stopped(signal, call_id) from None


_SIGNALS = (KeyboardInterrupt, TerminationSignal)


def _stopped(signal: BaseException, where: str) -> JobCancelled:
    return JobCancelled("the job was stopped", where=where, value=_name(signal), remedy=RESUME)


def _name(ended: BaseException) -> str:
    """Why a job is stopped, in words."""
    if isinstance(ended, SftError):
        return ended.message
    return "Ctrl-C" if isinstance(ended, KeyboardInterrupt) else "SIGTERM"


def _goes_on(ended: BaseException) -> bool:
    """Does whoever stops the job so go on with what it has saved? Patience is over, or a sweep's rung is reached."""
    return isinstance(ended, BudgetExceeded) and type(ended) is not BudgetExceeded


def _has_ended(compute: Compute, call_id: str) -> bool:
    try:
        return compute.poll(call_id).ended
    except SftError:  # in doubt it works, and is to be stopped
        return False


def stop(compute: Compute, why: str, *call_ids: str, goes_on: bool = False) -> None:
    """Cancel calls; they may save a checkpoint first, unless somebody presses Ctrl-C again.

    Args:
        why: in words; it is kept beside who does it, for the other runs that follow them.
        goes_on: see :func:`runs.calls.stopping`.
    """

    def end(call_id: str) -> None:
        calls.stopping(compute, call_id, why, goes_on=goes_on)
        compute.cancel(call_id)

    if not goes_on:
        tell("stopping the job, which saves what it can; Ctrl-C again stops it at once")
    pool = ThreadPoolExecutor(2 * AT_ONCE)
    try:
        list(pool.map(end, call_ids))
    except KeyboardInterrupt:
        list(pool.map(partial(compute.cancel, now=True), call_ids))
    finally:
        pool.shutdown(wait=False)


def _is_news(line: str) -> bool:
    """Is a line of the job's output worth a place in the flow run's log? The trainers print thousands of settings."""
    return bool(line.strip()) and not any(word in line for word in _NOISE) and _DUMP.fullmatch(line) is None


def run_is_cancelling() -> bool:
    """Has somebody cancelled the flow run in Prefect?"""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return False
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(context.flow_run.id).state
    return state is not None and (state.is_cancelling() or state.is_cancelled())
