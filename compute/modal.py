"""The adapter for Modal: jobs are deployed functions, calls are function calls, volumes are Modal volumes."""

from __future__ import annotations

import importlib.util
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import modal
from modal.config import config as settings
from modal.exception import (
    AuthError,
    ConnectionError,
    ExecutionError,
    FunctionTimeoutError,
    InternalError,
    InternalFailure,
    InvalidError,
    NotFoundError,
    OutputExpiredError,
    PermissionDeniedError,
    RemoteError,
    ResourceExhaustedError,
    ServiceError,
    VolumeUploadTimeoutError,
)
from modal_proto.api_pb2 import FileEntry

from compute.base import RemoteFile, Status
from modal_infra.names import APP, SECRET, SETUP, SETUP_JOBS, function_name
from modal_infra.volumes import PREFIX, volume
from sft import records
from sft.config import RunConfig
from sft.errors import ComputeError, JobCancelled, JobDied, SftError, TransientError, from_wire
from sft.foreign import as_ours, proxy_package

HOURS = 3600  # seconds
ANSWERS = 5  # seconds that a server may take to answer
POLL = 1.0  # seconds that one look at a call may wait for its end: the server answers as soon as it ends
DEPLOY = "sft deploy"
# Of volumes of version 1, from Modal's guide: each file makes attaching slower, one more than the most is refused.
FILES_ADVISED, FILES_MOST = 50_000, 500_000
ROOM = (
    f"train on whole pages instead of line crops; remove old sets (modal volume ls {PREFIX}data datasets, then modal "
    "volume rm -r); or make that volume anew without the bound, what it needs is sent again: modal volume delete "
    f"{PREFIX}data, modal volume create {PREFIX}data --version 2, sft deploy"
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Modal's exceptions as ours, each with what to do next."""
    try:
        yield
    except (AuthError, PermissionDeniedError) as error:
        raise ComputeError(f"Modal refuses the token: {error}", where=what, remedy="modal token new") from error
    except NotFoundError as error:
        raise ComputeError(f"not deployed: {error}", where=what, remedy=DEPLOY) from error
    except ResourceExhaustedError as error:
        remedy = "wait for running calls to end, or raise the workspace's limit in Modal's settings"
        raise ComputeError(f"Modal's limit is reached: {error}", where=what, remedy=remedy) from error
    except (InvalidError, ExecutionError) as error:
        raise ComputeError(f"Modal refuses the request: {error}", where=what, remedy=DEPLOY) from error
    except (ConnectionError, ServiceError, InternalError, VolumeUploadTimeoutError, OSError) as error:
        told = as_ours(error) if isinstance(error, OSError) else None
        if told is not None and not isinstance(told, TransientError):
            raise told from error  # this machine's disk, not Modal
        remedy = "check the connection; a running job is not affected, and the next run attaches to it"
        raise TransientError(f"Modal cannot be reached: {error}", where=what, remedy=remedy) from error


def ready() -> None:
    """Make sure that there is a token and a way to Modal. The client by itself tries for a minute.

    Raises:
        ComputeError: there is no token.
        SftError: a proxy is set, and the package that talks to it is missing.
        TransientError: nobody answers there.
    """
    if not (settings.get("token_id") and settings.get("token_secret")):
        remedy = "modal token new, which opens a browser; or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"
        raise ComputeError("there is no token for Modal on this machine", remedy=remedy)
    for url in str(settings.get("server_url")).split(","):
        server = urlsplit(url.strip())
        proxies = {} if settings.get("disable_api_proxy") or proxy_bypass(server.hostname or "") else getproxies()
        proxy = urlsplit(proxies.get(server.scheme) or proxies.get("all") or "")
        if proxy.hostname and importlib.util.find_spec("python_socks") is None:
            raise proxy_package()
        via = proxy if proxy.hostname else server
        host, port = via.hostname or "", via.port or {"https": 443, "http": 80}.get(via.scheme, 1080)
        try:
            socket.create_connection((host, port), timeout=ANSWERS).close()
            return
        except OSError as error:
            failed = TransientError(
                f"Modal cannot be reached{' by the proxy' if via is proxy else ''}: {error.strerror or error}",
                where=f"{host}:{port}",
                remedy="check the connection, the proxy (HTTPS_PROXY) or MODAL_SERVER_URL; what runs there runs on",
            )
    raise failed


def hub_secret() -> modal.Secret | None:
    """The secret with HF_TOKEN, looked up for each call: made later, it counts without another deployment."""
    secret = modal.Secret.from_name(SECRET)
    try:
        secret.hydrate()
    except NotFoundError:
        return None
    return secret


def has_no_bound(name: str) -> bool:
    """Is the volume there and of version 2? A missing one will be made of version 1."""
    with translated(f"volume {name}"):
        try:
            modal.Volume.from_name(PREFIX + name, version=2).hydrate()
        except (NotFoundError, InvalidError):
            return False
    return True


def _entries(paths: Sequence[str]) -> set[str]:
    """The files and all folders above them."""
    found = set(paths)
    for folder in {path.rpartition("/")[0] for path in paths}:
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


class ModalCompute:
    """See :class:`compute.base.Compute`. The configuration says on which GPU, for how long and with which engine."""

    name = "modal"
    pace = 2.0

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self._ended: dict[str, dict[str, Any] | SftError] = {}
        self._logs: dict[str, _Logs] = {}

    def start(self, job: str, args: dict[str, Any]) -> str:
        """Spawn the job's function with the configuration's GPU and timeout."""
        wanted = self.config.modal
        name = function_name(job, self.config.engine, wanted.gpu)
        with translated(f"function {name}"):
            function = modal.Function.from_name(SETUP if job in SETUP_JOBS else APP, name)
            if job not in SETUP_JOBS:
                options: dict[str, Any] = {"cpu": wanted.cpu, "memory": wanted.memory_mb}
                if job == "train":
                    options["timeout"] = int(wanted.timeout_hours * HOURS)
                if wanted.gpu != "none" and "," not in wanted.gpu:
                    options["gpu"] = wanted.gpu
                elif wanted.gpu != "none" and job != "train":
                    options["gpu"] = wanted.gpu.split(",")[0]
                options = {key: value for key, value in options.items() if value is not None}
                function = function.with_options(**options) if options else function
            elif job == "download_model" and (secret := hub_secret()) is not None:
                function = function.with_options(secrets=[secret])
            return function.spawn(args).object_id

    def poll(self, call_id: str) -> Status:
        """Waits up to a second for the call's end."""
        if call_id not in self._ended:
            try:
                with translated(call_id):
                    outcome = self._get(call_id)
            except ComputeError:
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
        again = "run again: finished steps are kept, and a training resumes from its newest checkpoint"
        try:
            outcome = call.get(timeout=POLL)
        except FunctionTimeoutError:
            hours = self.config.modal.timeout_hours
            return JobDied("the call reached its time limit", where=call_id, value=f"{hours} h", remedy=again)
        except OutputExpiredError:
            return JobDied("the call's result is no longer kept by Modal", where=call_id, remedy=again)
        except TimeoutError:
            return None
        except modal.exception.InputCancellation:
            return JobCancelled("the job was cancelled", where=call_id, remedy=again)
        except (RemoteError, InternalFailure) as error:
            if "terminated" in str(error).lower() or "cancel" in str(error).lower():
                return JobCancelled("the job was cancelled", where=call_id, remedy=again)
            return JobDied(f"the container ended without a result: {error}", where=call_id, remedy=again)
        if not isinstance(outcome, dict):
            return JobDied(
                "the call answered with something else than a result", where=call_id, value=repr(outcome)[:80]
            )
        if outcome.get("ok"):
            value: dict[str, Any] = outcome["value"]
            return value
        return from_wire(outcome["error"])

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
        if has_no_bound(name):
            return
        entries = _entries(paths) | _entries([file.path for file in self.list(name, "/")])
        if len(entries) <= FILES_ADVISED:
            return
        counts = f"{len(entries):,} files and folders, {len(paths):,} of them new"
        if len(entries) <= FILES_MOST:
            say(f"the volume {PREFIX}{name} gets slow to attach with {counts} ({FILES_ADVISED:,} are advised): {ROOM}")
            return
        raise ComputeError(
            f"a volume takes {FILES_MOST:,} files and folders",
            where=f"volume {PREFIX}{name}",
            value=counts,
            remedy=ROOM,
        )

    def remove(self, name: str, path: str) -> None:
        """A file or a whole folder."""
        with translated(f"volume {name}"):
            try:
                volume(name).remove_file(path, recursive=True)
            except (NotFoundError, FileNotFoundError):
                return


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
