"""The adapter for Modal: jobs are deployed functions, calls are function calls, volumes are Modal volumes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import modal
from modal.exception import (
    AuthError,
    NotFoundError,
    OutputExpiredError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from modal_proto.api_pb2 import FileEntry

from compute import billing, room
from compute.base import Billed, RemoteFile, Status
from compute.reach import DEPLOY, translated
from modal_infra.names import (
    BUCKET_SECRET,
    HOST,
    NIGHT,
    PREFECT_SECRET,
    SECRET,
    SETUP_JOBS,
    VLLM,
    app_name,
    function_name,
)
from modal_infra.outcomes import AGAIN, as_outcome, is_the_calls
from modal_infra.volumes import volume
from sft.config import RunConfig
from sft.errors import ComputeError, JobCancelled, JobDied, JobError, SftError, from_wire
from sft.store import records
from sft.training.memory import single

HOURS = 3600  # seconds
# What says nothing about a call: in doubt it runs, and none is started beside it.
_NO_ANSWER = (AuthError, PermissionDeniedError, ResourceExhaustedError)
POLL = 1.0  # seconds that one look at a call may wait for its end: the server answers as soon as it ends


# What jobs are given, where there is one: the Hub's token, a bucket's keys.
SECRETS = {"download_model": (SECRET,), "bring_dataset": (SECRET, BUCKET_SECRET)}


def secrets_of(job: str) -> list[modal.Secret]:
    """The secrets that there are, looked up for each call: made later, they count without another deployment."""
    return [secret for name in SECRETS.get(job, ()) if (secret := known_secret(name)) is not None]


def known_secret(name: str) -> modal.Secret | None:
    """The workspace's secret of that name; None where there is none."""
    secret = modal.Secret.from_name(name)
    try:
        secret.hydrate()
    except NotFoundError:
        return None
    return secret


class ModalCompute:
    """See :class:`compute.base.Compute`. The configuration says on which GPU, for how long and with which engine."""

    name = "modal"
    pace = 2.0

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self._ended: dict[str, dict[str, Any] | SftError] = {}
        self._logs: dict[str, _Logs] = {}
        self._rates: dict[str, float] | None = None

    def start(self, job: str, args: dict[str, Any]) -> str:
        """Spawn the job's function with the configuration's GPU and timeout."""
        wanted = self.config.modal
        backend = str(args.get("backend", ""))
        name, app = function_name(job, self.config.engine, wanted.gpu, backend), app_name(job, backend)
        with translated(f"function {name}", _deploys(app)):
            function = modal.Function.from_name(app, name)
            if job == HOST:
                if (secret := known_secret(PREFECT_SECRET)) is not None:
                    function = function.with_options(secrets=[secret])
            elif job not in SETUP_JOBS:
                options: dict[str, Any] = {"cpu": wanted.cpu, "memory": wanted.memory_mb}
                if job == "train":
                    options["timeout"] = int(wanted.timeout_hours * HOURS)
                if wanted.gpu != "none" and (gpu := _gpu(job, wanted.gpu)):
                    options["gpu"] = gpu
                options = {key: value for key, value in options.items() if value is not None}
                function = function.with_options(**options) if options else function
            elif secrets := secrets_of(job):
                function = function.with_options(secrets=secrets)
            return function.spawn(args).object_id

    def poll(self, call_id: str) -> Status:
        """Waits up to a second for the call's end, which is an outcome whatever the container ended with."""
        if call_id not in self._ended:
            try:
                with translated(call_id):
                    outcome = self._get(call_id)
            except ComputeError as error:
                if isinstance(error.__cause__, _NO_ANSWER):
                    raise
                return Status("unknown")
            if outcome is None:
                return Status("running")
            self._ended[call_id] = outcome
        ended = self._ended[call_id]
        if isinstance(ended, JobCancelled):
            return Status("cancelled")
        return Status("failed" if isinstance(ended, SftError) else "done")

    def _get(self, call_id: str) -> dict[str, Any] | SftError | None:
        call: modal.FunctionCall[dict[str, Any]] = modal.FunctionCall.from_id(call_id)
        try:
            outcome = call.get(timeout=POLL)
        except OutputExpiredError:
            return JobDied("the call's result is no longer kept by Modal", where=call_id, remedy=AGAIN)
        except BaseException as error:
            if is_the_calls(error):
                return as_outcome(error, call_id, self.config.modal.timeout_hours)
            if isinstance(error, TimeoutError):
                return None
            raise
        try:
            value: dict[str, Any] = outcome["value"] if outcome["ok"] else {}
            return value if outcome["ok"] else from_wire(outcome["error"])
        except (KeyError, TypeError, AttributeError):
            found = repr(outcome)[:80]
            return JobError("the call answered with something else than a result", where=call_id, value=found)

    def result(self, call_id: str) -> dict[str, Any]:
        """The job's result, or its error raised again."""
        self.poll(call_id)
        ended = self._ended.get(call_id)
        if ended is None:
            raise JobDied("the call is not known to Modal, or still runs", where=call_id, remedy="run again")
        if isinstance(ended, SftError):
            raise ended
        return ended

    def logs(self, call_id: str, cursor: str) -> tuple[list[str], str]:
        """Lines as they stream in; the cursor counts them. Streaming starts at the first look."""
        if call_id not in self._logs:
            self._logs[call_id] = _Logs(call_id)
        lines = self._logs[call_id].take(wait=self.poll(call_id).ended)
        return lines, str(int(cursor or 0) + len(lines))

    def cancel(self, call_id: str, *, now: bool = False) -> None:
        """Ends the call and its container."""
        with translated(call_id):
            modal.FunctionCall.from_id(call_id).cancel(terminate_containers=True)

    def ask_to_end(self, call_id: str) -> None:
        """Cancel a call, and let its container end by itself: a hosted flow stops its training first."""
        with translated(call_id):
            modal.FunctionCall.from_id(call_id).cancel()

    def link(self, call_id: str) -> str:
        """The call's page in Modal's dashboard."""
        try:
            with translated(call_id):
                return modal.FunctionCall.from_id(call_id).get_dashboard_url()
        except SftError:
            return call_id

    def dataset_root(self, folder: Path, fingerprint: str) -> str:
        """A folder of the data volume, named by the content."""
        return f"datasets/{fingerprint[:16]}"

    def read(self, name: str, path: str) -> bytes | None:
        """The file's bytes."""
        with translated(f"volume {name}"):
            try:
                return b"".join(volume(name).read_file(path))
            except FileNotFoundError:
                return None

    def list(self, name: str, path: str) -> list[RemoteFile]:
        """Regular files, sorted by path."""
        with translated(f"volume {name}"):
            try:
                entries = volume(name).listdir(path, recursive=True)
            except (NotFoundError, FileNotFoundError):
                return []
            files = [entry for entry in entries if int(entry.type) == FileEntry.FILE]
            return [RemoteFile(entry.path, entry.size) for entry in sorted(files, key=lambda entry: entry.path)]

    def get(self, name: str, path: str, target: Path) -> str:
        """Streamed to the file."""
        with translated(f"volume {name}"):
            try:
                return records.write_hashed(volume(name).read_file(path), target)
            except FileNotFoundError:
                raise ComputeError("no such file on the volume", where=name, value=path) from None

    def put(self, name: str, source: Path, path: str) -> None:
        """One file."""
        self.put_all(name, [(source, path)])

    def put_all(self, name: str, files: Sequence[tuple[Path, str]]) -> None:
        """Many files in one batch; content that Modal has already is not sent again."""
        with translated(f"volume {name}"), volume(name).batch_upload(force=True) as batch:
            for source, path in files:
                batch.put_file(source, path)

    def check_room(self, name: str, paths: Sequence[str], say: Callable[[str], None]) -> None:
        """Count files and folders against what a volume of version 1 takes; one of version 2 has no such bound."""
        if not room.has_no_bound(name):
            room.check(name, paths, [file.path for file in self.list(name, "/")], say)

    def entries(self, name: str) -> int | None:
        """Of a volume of version 1."""
        return None if room.has_no_bound(name) else room.entries([file.path for file in self.list(name, "/")])

    def remove(self, name: str, path: str) -> None:
        """A file or a whole folder."""
        with translated(f"volume {name}"):
            try:
                volume(name).remove_file(path, recursive=True)
            except (NotFoundError, FileNotFoundError):
                return

    def rates(self) -> dict[str, float]:
        """Modal's, asked for once."""
        if self._rates is None:
            self._rates = billing.rates()
        return self._rates

    def billed(self, since: float, until: float) -> Sequence[Billed]:
        """Modal's billing report."""
        return billing.billed(since, until)


def _deploys(app: str) -> str:
    """The command that deploys an app."""
    return {VLLM: f"{DEPLOY} --vllm", NIGHT: f"{DEPLOY} --night"}.get(app, DEPLOY)


def check_host() -> None:
    """Is there what hosts a flow?

    Raises:
        ComputeError: it is not deployed; said before a dataset is validated and sent.
    """
    with translated(f"function {HOST}", _deploys(NIGHT)):
        modal.Function.from_name(NIGHT, HOST).hydrate()


def _gpu(job: str, wanted: str) -> str:
    """What a call asks for: all cards for a training, and where it is looked at whether they are there; one for what
    reads. A list stands in the training's function already: nothing.
    """
    if job == "train":
        return "" if "," in wanted else wanted
    first = wanted.split(",")[0]
    return first if job == "inspect_environment" else single(first)


class _Logs:
    """The log stream of a call, read by a thread so that a slow stream never holds up the polling."""

    def __init__(self, call_id: str) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(call_id,), daemon=True)
        self._thread.start()

    def _read(self, call_id: str) -> None:
        rest = ""
        try:
            for entry in modal.FunctionCall.from_id(call_id).logs.stream():
                *whole, rest = (rest + entry.message).split("\n")
                for line in whole:
                    self._lines.put(line)
        except Exception as error:  # logs are a comfort: whatever breaks their stream must not end the run
            self._lines.put(f"the log stream ended: {type(error).__name__}: {error}")
        if rest:
            self._lines.put(rest)

    def take(self, *, wait: bool) -> list[str]:
        """The lines that have come since; with ``wait``, the stream is given three seconds to end first."""
        if wait:
            self._thread.join(3)
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return lines
