"""Which call works on what: the outputs volume keeps the newest call's id under its key. Nothing here needs Prefect."""

from __future__ import annotations

import getpass
import os
import platform
import time
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from compute.base import Compute
from compute.records import put_json, read_json
from runs.signals import held_back
from sft.errors import SftError, without_secrets

FOLDER = "calls"
STOPPED = "stopped"  # beside it: a file for each call that somebody has ended on purpose
TRAINING = "train-"
_FOLLOWED: WeakKeyDictionary[Compute, set[str]] = WeakKeyDictionary()


def training_key(identity: str) -> str:
    """Under what key the call of a training is kept; ``identity`` is its fingerprint, or the start of it."""
    return f"{TRAINING}{identity[:16]}"


def attach_or_start(compute: Compute, key: str, job: str, args: dict[str, Any]) -> tuple[str, bool]:
    """(id of the call that works on ``key``, was it started now?)."""
    if known := running_call(compute, key):
        following(compute, known)
        return known, False
    with held_back():
        call_id = compute.start(job, args)
        noted(compute, key, call_id, job)
    return call_id, True


def following(compute: Compute, call_id: str) -> None:
    """The run of this ``compute`` pays for that call, too."""
    _FOLLOWED.setdefault(compute, set()).add(call_id)


def noted(compute: Compute, key: str, call_id: str, job: str) -> None:
    """Keep that ``call_id`` has begun to work on ``key``."""
    following(compute, call_id)
    put_json(compute, "outputs", _pointer(key), {"call_id": call_id, "job": job, "started": time.time()})


def attached(compute: Compute, key: str, call_id: str) -> None:
    """Keep that ``call_id`` works on ``key``: of two that started at once, the one that lost may have come last."""
    following(compute, call_id)
    newest = read_json(compute, "outputs", _pointer(key)) or {}
    if newest.get("call_id") != call_id:
        put_json(compute, "outputs", _pointer(key), {**newest, "call_id": call_id})


def followed(compute: Compute) -> frozenset[str]:
    """All calls that were started or attached to through this ``compute``: a run has one of its own."""
    return frozenset(_FOLLOWED.get(compute, ()))


def stopping(compute: Compute, call_id: str, why: str, *, goes_on: bool = False) -> None:
    """Keep who ends ``call_id``, and why: whoever else follows it would take it for one that died, and start it again.

    What a cancelled call ends with at Modal depends on how far its container came. A volume that cannot be written to
    stops nobody from ending a call.

    Args:
        goes_on: who ends it needs no more of it, or ends it in another way: it is not given up.
    """
    said = {"by": _me(), "why": without_secrets(why), "at": time.time(), "goes_on": goes_on}
    with suppress(SftError):
        put_json(compute, "outputs", _mark(call_id), said)


def stopped_by(compute: Compute, call_id: str) -> str:
    """Who has ended that call on purpose, and why, in words; an empty text where nobody has."""
    said = read_json(compute, "outputs", _mark(call_id)) or {}
    return f"{said.get('by')} ({said.get('why')})" if said else ""


def was_cancelled(compute: Compute, key: str, since: float = 0.0) -> bool:
    """Has somebody given up the newest call for ``key``, after ``since`` (Unix time in seconds)?"""
    call_id = _call(compute, key)
    said = (read_json(compute, "outputs", _mark(call_id)) or {}) if call_id else {}
    return bool(said) and not said.get("goes_on") and float(said.get("at", 0.0)) >= since


def _me() -> str:
    """Who runs this process, and where."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        name = str(os.getuid())
    return f"{name}@{platform.node() or 'unknown'}"


def started(compute: Compute, key: str) -> float:
    """When the newest call for ``key`` was started (Unix time in seconds); 0 where there is none."""
    said = (read_json(compute, "outputs", _pointer(key)) or {}).get("started")
    return float(said) if isinstance(said, (int, float)) else 0.0


def running_calls(compute: Compute, begin: str = "") -> dict[str, str]:
    """Key → call id of all calls that work now; also those of which nothing is heard: they may, and can be stopped.

    Args:
        begin: only of keys that begin so.
    """
    keys = [file.path.rpartition("/")[2].removesuffix(".json") for file in compute.list("outputs", FOLDER)]
    calls = {key: _call(compute, key) for key in keys if key.startswith(begin)}
    return {key: call_id for key, call_id in calls.items() if call_id and _may_run(compute, call_id)}


def _may_run(compute: Compute, call_id: str) -> bool:
    try:
        return compute.poll(call_id).state == "running"
    except SftError:
        return True


def ended_with(compute: Compute, key: str) -> SftError | None:
    """The error that the newest call for ``key`` ended with; None if it ended well, still runs, or there is none."""
    call_id = _call(compute, key)
    if not call_id or compute.poll(call_id).state not in ("failed", "cancelled"):
        return None
    try:
        compute.result(call_id)
    except SftError as error:
        return error
    return None


def running_call(compute: Compute, key: str) -> str:
    """The call that works on ``key`` now, or an empty text."""
    call_id = _call(compute, key)
    return call_id if call_id and compute.poll(call_id).state == "running" else ""


def _call(compute: Compute, key: str) -> str:
    said = (read_json(compute, "outputs", _pointer(key)) or {}).get("call_id")
    return said if isinstance(said, str) else ""


def _mark(call_id: str) -> str:
    return f"{STOPPED}/{call_id}.json"


def _pointer(key: str) -> str:
    return f"{FOLDER}/{key}.json"
