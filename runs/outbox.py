"""What trackers have not been sent yet waits on the outputs volume, so that any machine's next run can send it.

tracking/NAME/outbox/IDENTITY.json   a training's document, and which trackers lack it; written before anything is sent
tracking/NAME/sent/IDENTITY.json     what each tracker has: its target and the document's fingerprint
tracking/NAME/champion.json          which promotion MLflow's alias shows
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from compute.base import Compute
from compute.records import put_json, read_json
from compute.select import state_folder
from runs.results import champion
from sft.config import RunConfig
from sft.errors import InputError, SftError
from sft.processes import alone_at
from sft.tracking import INSTALLS, TRACKERS, interpreter
from sft.tracking.document import Document, fingerprint
from sft.tracking.sending import send

FOLDER = "tracking"
MINUTES = 60  # seconds
LEAST = 5.0  # seconds that are left for a send that is begun
REGISTRY = "mlflow"  # the tracker that has a register of models
Say = Callable[[str], None]


@dataclass
class Sent:
    """What one tracker has taken: training (16 digits) → where it is shown; why it took no more; is the alias set?"""

    shown: dict[str, str] = field(default_factory=dict)
    error: SftError | None = None
    served: bool = False


def keep(config: RunConfig, compute: Compute, document: Document, *, again: bool = False) -> bool:
    """Put a document into the outbox, unless each tracker has the same one; returns whether any lacks it.

    Args:
        again: send it also where it was sent before.
    """
    identity, said = document["identity"][:16], {"fingerprint": fingerprint(document)}
    known = read_json(compute, "outputs", _place(config, "sent", identity)) or {}
    lacking = [n for n, target in config.track.targets.items() if again or known.get(n) != {**said, "target": target}]
    if lacking:
        put_json(compute, "outputs", _place(config, "outbox", identity), {"document": document, "lacking": lacking})
    return bool(lacking)


def flush(config: RunConfig, compute: Compute, say: Say) -> list[SftError]:
    """Send what waits, each tracker at most ``track.wait`` in all; returns why some of it was not taken.

    What was taken is noted; the rest waits for the next run. Two runs of a machine send one after the other.
    """
    with alone_at(state_folder() / FOLDER / config.name):
        waiting = _waiting(config, compute)
        now = _champion(config, compute)
        if not waiting and now is None:
            return []
        if interpreter() is None:
            said = "the clients of the trackers are not installed: what they lack is kept"
            where = ", ".join(f"track.{name}" for name in config.track.targets)
            return [
                InputError(said, where=where, remedy=f"run {INSTALLS}, then sft track {config.profile or 'PROFILE'}")
            ]
        with tempfile.TemporaryDirectory(prefix="sft-reports-") as scratch:
            requests = {i: _request(kept, compute, Path(scratch) / i) for i, kept in waiting.items()}
            targets = config.track.targets
            with ThreadPoolExecutor(len(targets)) as pool:
                work = partial(_to_one, config, waiting, requests, now)
                done = dict(zip(targets, pool.map(work, targets)))
        _note(config, compute, waiting, done, now)
    for name, sent in done.items():
        for url in sent.shown.values():
            say(f"{TRACKERS[name].title}: {url or 'written'}")
        if sent.served and now is not None:
            say(f"{TRACKERS[name].title}: the alias champion of {config.name} is {now['identity'][:16]}")
    return [sent.error for sent in done.values() if sent.error is not None]


def _place(config: RunConfig, kind: str, identity: str) -> str:
    return f"{FOLDER}/{config.name}/{kind}/{identity}.json"


def _waiting(config: RunConfig, compute: Compute) -> dict[str, dict[str, Any]]:
    """Training (16 digits) → what the outbox has of it, the oldest first; torn ones are written again by their run."""
    found = {}
    for file in compute.list("outputs", f"{FOLDER}/{config.name}/outbox"):
        kept = read_json(compute, "outputs", file.path)
        if kept is not None and set(kept["lacking"]) & set(config.track.targets):
            found[Path(file.path).stem] = kept
    return dict(sorted(found.items(), key=lambda item: float(item[1]["document"]["started"])))


def _champion(config: RunConfig, compute: Compute) -> dict[str, Any] | None:
    """The champion, where the tracker with a register does not show this promotion yet."""
    target = config.track.targets.get(REGISTRY)
    now = champion(compute, config.name) if target else None
    if now is None:
        return None
    known = read_json(compute, "outputs", f"{FOLDER}/{config.name}/champion.json") or {}
    if known == {"number": now.number, "target": target}:
        return None
    return {"number": now.number, "name": config.name, "identity": now.identity}


def _request(kept: Mapping[str, Any], compute: Compute, folder: Path) -> dict[str, Any]:
    """A document with the report beside it; a report that was cleaned up meanwhile is left out."""
    files = {}
    if report := kept["document"]["report"]:
        folder.mkdir()
        with suppress(SftError):
            compute.get("outputs", report, folder / "report.html")
            files["report.html"] = str(folder / "report.html")
    return {"document": kept["document"], "files": files, "champion": None}


def _to_one(
    config: RunConfig,
    waiting: Mapping[str, Mapping[str, Any]],
    requests: Mapping[str, Mapping[str, Any]],
    now: Mapping[str, Any] | None,
    name: str,
) -> Sent:
    """Send to one tracker what it lacks, until it fails or its time is over; then the champion."""
    sent, until, target = Sent(), time.monotonic() + config.track.wait * MINUTES, config.track.targets[name]
    folder = state_folder() / FOLDER / name
    asked = [(i, dict(requests[i])) for i, kept in waiting.items() if name in kept["lacking"]]
    if name == REGISTRY and now is not None:
        asked.append(("", {"document": None, "files": {}, "champion": dict(now)}))
    for identity, request in asked:
        left = until - time.monotonic()
        if sent.shown and left < LEAST:  # the first is given all of the time
            return sent
        try:
            said = send(name, {**request, "target": target}, folder, left)
        except SftError as error:
            sent.error = error
            return sent
        if identity:
            sent.shown[identity] = str(said.get("url", ""))
        else:
            sent.served = True
    return sent


def _note(
    config: RunConfig,
    compute: Compute,
    waiting: Mapping[str, Mapping[str, Any]],
    done: Mapping[str, Sent],
    now: Mapping[str, Any] | None,
) -> None:
    """Write down what was taken; whoever is killed before sends it again, which changes nothing at a tracker."""
    for identity, kept in waiting.items():
        taken = {n for n in kept["lacking"] if n in done and identity in done[n].shown}
        if not taken:
            continue
        place, said = _place(config, "sent", identity), fingerprint(kept["document"])
        known = read_json(compute, "outputs", place) or {}
        marks = {name: {"fingerprint": said, "target": config.track.targets[name]} for name in taken}
        put_json(compute, "outputs", place, known | marks)
        lacking = [name for name in kept["lacking"] if name in config.track.targets and name not in taken]
        if lacking:
            put_json(compute, "outputs", _place(config, "outbox", identity), {**kept, "lacking": lacking})
        else:
            compute.remove("outputs", _place(config, "outbox", identity))
    if now is not None and any(sent.served for sent in done.values()):
        shown = {"number": now["number"], "target": config.track.targets[REGISTRY]}
        put_json(compute, "outputs", f"{FOLDER}/{config.name}/champion.json", shown)
