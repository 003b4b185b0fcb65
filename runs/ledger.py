"""The ledger: one record for each run on the outputs volume, whatever became of it."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compute.base import Compute
from compute.records import put_json
from compute.select import state_folder
from runs.hosting import hosted
from runs.kept import read_kept
from sft.config import RunConfig
from sft.errors import Detached, JobCancelled, SftError, Unchanged, without_secrets
from sft.store import records
from sft.store.notes import here, left_behind

Outcome = Literal["running", "completed", "failed", "cancelled", "detached", "skipped", "crashed"]
Kind = Literal["run", "sweep", "curve", "evaluate", "doubtful", "read", "promote"]
TRAINING = ("run", "sweep", "curve")  # the kinds that train: who counts runs, or looks for one like his, means these
FOLDER = "ledger"
PROJECT = Path(__file__).resolve().parents[1]


class Spent(BaseModel):
    """What the calls of a job came to, for one run."""

    model_config = ConfigDict(extra="ignore")

    calls: int = 0
    seconds: float = 0
    cost: float | None = None


class Entry(BaseModel):
    """One run. Times are Unix times in seconds.

    ``training_seconds`` are those of all trainings' calls that the run followed, from their begin, also where another
    run had started them; ``spent`` is the same for each job (train, evaluate, predict, read_dev, check_export, …).
    ``cost`` is an estimate of all of it by the prices that ``priced_by`` names, None without a price. What a month has
    cost is not their sum: two runs may have followed the same call (see :mod:`sft.store.usage`). ``settings`` is the
    fingerprint of what in the configuration changes a result. ``decided_by`` and ``reason`` are those of the person who
    was asked (``promote.mode: ask``); "nobody" where there was no answer in time. ``kind`` is the command or the flow,
    ``about`` what one that trains nothing was asked for, ``calls`` are the ids of all that were followed.
    """

    model_config = ConfigDict(extra="ignore")

    id: str
    name: str
    profile: str = ""
    kind: Kind = "run"
    about: str = ""
    started: float
    finished: float = 0
    outcome: Outcome = "running"
    error: str = ""
    identity: str = ""
    dataset: str = ""
    settings: str = ""
    base_model: str = ""
    engine: str = ""
    engine_version: str = ""
    compute: str = ""
    gpu: str = ""
    steps: int = 0
    trained: bool = False
    training_seconds: float = 0
    cost: float | None = None
    currency: str = ""
    priced_by: str = ""
    spent: dict[str, Spent] = Field(default_factory=dict)
    calls: list[str] = Field(default_factory=list)
    rows: int = 0
    metrics: dict[str, Any] = Field(default_factory=dict)
    decision: Literal["", "promoted", "refused", "waiting"] = ""
    decided_by: str = ""
    reason: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    git: str = ""
    prefect_run: str = ""
    hosted: str = ""  # the call at Modal that hosts the flow; empty where a machine of somebody's does
    containers: int = 0  # that have hosted it, one after the other


@contextmanager
def recorded(
    config: RunConfig,
    compute: Compute,
    say: Callable[[str], None],
    crashed: Callable[[Entry], None] = lambda entry: None,
    kind: Kind = "run",
) -> Iterator[Entry]:
    """An entry that the run fills in; it is written at the end, with the outcome. A ledger that cannot be written
    fails no run: ``say`` hears of it.

    Args:
        crashed: hears of the trainings' runs of this machine that were killed, which are written to the ledger now.
        kind: of the run.
    """
    entry = begun(config, kind)
    entry.prefect_run = _flow_run()
    _close_crashed(compute, say, crashed)
    keep(entry)
    try:
        yield entry
        entry.outcome = "completed"
    except Detached:
        entry.outcome = "detached"
        raise
    except Unchanged:
        entry.outcome = "skipped"
        raise
    except JobCancelled as error:
        entry.outcome, entry.error = "cancelled", error.message
        raise
    except KeyboardInterrupt:  # of a command that is no flow
        entry.outcome, entry.error = "cancelled", "Ctrl-C"
        raise
    except BaseException as error:
        text = str(error) if isinstance(error, SftError) else f"{type(error).__name__}: {error}"
        entry.outcome, entry.error = "failed", without_secrets(text)[:2000]
        raise
    finally:
        entry.finished = time.time()
        write(entry, compute, say)
        _note(entry.id).unlink(missing_ok=True)


def keep(entry: Entry) -> None:
    """Note on this machine what is known of a run that works, in case that it is killed."""
    records.write_json(_note(entry.id), {**here(), "entry": entry.model_dump()})


def _notes() -> Path:
    return state_folder() / "working"


def _note(name: str) -> Path:
    return _notes() / f"{name}.json"


def _close_crashed(compute: Compute, say: Callable[[str], None], crashed: Callable[[Entry], None]) -> None:
    """Runs of this machine that were killed could not write their entries: they are written now."""
    for note, said in left_behind(_notes()):
        entry = Entry.model_validate(said["entry"])
        if entry.compute != compute.name:
            continue
        entry.outcome, entry.finished = "crashed", time.time()
        entry.error = "the run's process was killed; its job, if it still worked, was left to the next run"
        write(entry, compute, say)
        note.unlink(missing_ok=True)
        if entry.kind in TRAINING:
            crashed(entry)


def _flow_run() -> str:
    """The id of the flow run that this is in. Who has not imported Prefect is in none, and need not wait for it."""
    if "prefect" not in sys.modules:
        return ""
    from prefect.runtime import flow_run

    return str(flow_run.id or "")


def begun(config: RunConfig, kind: Kind = "run") -> Entry:
    """The entry of a run that begins now; of a hosted one that goes on in another container, the one that it has."""
    entry = Entry(
        id=f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
        + ("" if kind in TRAINING else f".{kind}"),  # who counts the runs need not open the others' files
        name=config.name,
        kind=kind,
        profile=config.profile,
        started=time.time(),
        engine=config.engine,
        compute=config.compute,
        currency=config.budget.currency,
        versions={name: _version(name) for name in ("prefect", "modal", "paddleocr-vl-sft")}
        | {"python": platform.python_version()},
        git=_commit(),
    )
    if (run := hosted()) is not None:
        if run.entry is None:
            run.named(entry.id, entry.started)
        else:
            entry.id, entry.started = run.entry
        entry.hosted, entry.containers = run.call_id, run.containers
    return entry


def _version(package: str) -> str:
    """Empty where the code lies there without having been installed, as in a container."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def write(entry: Entry, compute: Compute, say: Callable[[str], None]) -> None:
    """Put the entry into the ledger; ``say`` hears where that is not possible."""
    try:
        put_json(compute, "outputs", f"{FOLDER}/{entry.id}.json", entry.model_dump())
    except SftError as error:
        say(f"the run could not be written to the ledger: {error}")


def _commit() -> str:
    """The commit of this project's code, with + where files are changed; empty where it is no checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*args: str) -> str:
    command = ("git", "-C", str(PROJECT), *args)
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def ledger_names(compute: Compute, *, every: bool = False) -> list[str]:
    """The entries' files, the oldest first: their names begin with the time of the start (UTC).

    Args:
        every: also of what trains nothing.
    """
    names = (file.path.rpartition("/")[2] for file in compute.list("outputs", FOLDER) if file.path.endswith(".json"))
    return sorted(name for name in names if every or trains(name))


def trains(name: str) -> bool:
    """Is it the file of a run that trains?"""
    return "." not in name.removesuffix(".json")


def read_ledger(compute: Compute, *, last: int = 0, since: float = 0, names: list[str] | None = None) -> list[Entry]:
    """Entries, the oldest first. An entry never changes: each is fetched once and then kept on this machine.

    Without ``names`` they are those of runs that train.

    Args:
        last: only the newest so many; 0: all.
        since: only those that started at this time (Unix time in seconds) or later.
        names: what :func:`ledger_names` said, where it has been asked already.
    """
    start = time.strftime("%Y%m%d-%H%M%S", time.gmtime(since))
    names = [name for name in (ledger_names(compute) if names is None else names) if name >= start]
    found = []
    for content in read_kept(compute, FOLDER, names[-last:] if last else names):
        try:
            found.append(Entry.model_validate(content))
        except ValidationError:
            continue  # of a version that knew other fields
    return sorted(found, key=lambda entry: entry.started)
