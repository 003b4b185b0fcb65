"""Calls and the containers that work on them, for the stand-in server.

By Modal's documentation (modal.com/docs/guide: scale, preemption, cold-start and retries, read in November 2026) and
the client's source (1.6.4):

- a container takes one input after another (``FunctionGetInputs``) and waits ``scaledown_window`` for the next, unless
  the function says ``single_use_containers``; what its process has loaded, opened or changed is still there;
- no more containers of a function than its ``max_containers``: other inputs wait for one that is free;
- the process is Modal's container entrypoint, which runs on this machine's Python in a mount namespace of its own, with
  the volumes as tests/support/modal_volumes.py has them and a scratch disk of its own.
"""

from __future__ import annotations

import asyncio
import collections
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from grpclib.server import Server
from modal_proto import api_pb2

from tests.support.modal_volumes import View, living

if TYPE_CHECKING:
    from tests.support.modal_server import ModalServer

PROJECT = Path(__file__).resolve().parents[2]
TERMINATED = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED
FAILURE = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
INTERNAL = api_pb2.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE
Kind = tuple[str, str]  # function and environment: what a warm container must have in common with a call


class Call:
    """One function call: its input, its container and, at the end, its output."""

    def __init__(
        self, call_id: str, function_id: str, item: api_pb2.FunctionInput, idx: int = 0, mapping: str = ""
    ) -> None:
        self.id = call_id
        self.told_id = mapping or call_id  # what its container hears as the id of its call
        self.idx = idx
        self.input_id = f"in-{call_id}"
        self.function_id = function_id
        self.input = item
        self.taken = False
        self.cancelled = False
        self.preempted = False
        self.failures = 0
        self.ended = 0.0
        self.done = asyncio.Event()
        self.outputs: list[api_pb2.FunctionGetOutputsItem] = []
        self.log = b""
        self.container: Container | None = None

    def finish(self, result: api_pb2.GenericResult, data_format: int = 0) -> None:
        if not self.outputs:
            output = api_pb2.FunctionGetOutputsItem(
                result=result,
                idx=self.idx,
                input_id=self.input_id,
                data_format=data_format,  # type: ignore[arg-type]
            )
            self.outputs.append(output)
            self.ended = time.monotonic()
            self.done.set()


class Mapping:
    """A call with many inputs (``.map``), each of which has a container of its own; all have the one call's id.

    So at Modal, by the client's source (1.6.4): ``_map_invocation`` (parallel_map.py) asks FunctionMap once, whose
    answer has one function_call_id, and puts all inputs below it; a container gets it with each input
    (FunctionGetInputsItem) and ``modal.current_function_call_id`` says it.
    """

    def __init__(self, call_id: str, function_id: str) -> None:
        self.id, self.function_id = call_id, function_id
        self.shares: list[Call] = []

    async def outputs(self, seen: int, timeout: float) -> list[api_pb2.FunctionGetOutputsItem]:
        """What has come behind the first ``seen`` outputs, in the order of their ends; waits for the next one."""
        end = time.monotonic() + timeout
        while True:
            done = sorted((c for c in self.shares if c.ended), key=lambda c: c.ended)[seen:]
            if done or time.monotonic() > end:
                return [output for call in done for output in call.outputs]
            await asyncio.sleep(0.02)


class Container:
    """A process that runs Modal's container entrypoint, behind a port of its own, for one call after another."""

    def __init__(self, modal: ModalServer, call: Call) -> None:
        self.modal = modal
        self.call: Call | None = call
        self.last = call
        self.kind = modal.containers.kind(call)
        self.process: asyncio.subprocess.Process | None = None
        self.server: Server | None = None
        self.holder: asyncio.subprocess.Process | None = None
        self.cancelling = asyncio.Event()
        self._given = asyncio.Event()
        self._killed = False
        self._place = modal.state / "containers" / f"{call.id}-{time.monotonic_ns()}"
        freezing = threading.Lock()
        self._views = {
            mount.volume_id: View(
                *(modal.volume(mount.volume_id), self._place / mount.volume_id, mount.mount_path),
                *(modal.rules, freezing),
            )
            for mount in self._function.volume_mounts
        }

    @property
    def _function(self) -> api_pb2.Function:
        return self.modal.functions[self.modal.bound.get(self.kind[0], self.kind[0])]

    @property
    def idle(self) -> bool:
        """Could it take another call?"""
        return self.call is None and not self._killed

    def give(self, call: Call) -> None:
        """Let it work on a call."""
        self.call = self.last = call
        call.container = self
        self._given.set()

    async def next(self) -> Call | None:
        """The call to work on; None once nothing has come for as long as a warm container is kept."""
        if self.call is not None and not self.call.taken:
            return self.call
        if self._function.single_use_containers:
            return None
        self.call = None
        if (waiting := self.modal.containers.waiting_for(self)) is not None:
            self.give(waiting)
            return waiting
        self._given.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._given.wait(), self.modal.warm)
        if self.call is None:
            self._killed = True  # takes no more
        return self.call

    async def run(self) -> None:
        """From its start to its end, and the end of the call that it had then."""
        from tests.support.modal_rpcs import servicer

        self.server = Server([servicer(self.modal, self)])
        await self.server.start("127.0.0.1", 0)
        try:
            await self._mount()
            code = await self._work(self.server._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]
            if code >= 0 and (not self._killed or self.call is None):  # else the machine is lost, or as good as lost
                await self.commit()
        finally:
            self._killed = True
            self.server.close()
            await self._unmount()
        self._end(code)

    async def _mount(self) -> None:
        scratch = Path(tempfile.gettempdir()) / "sft"  # what jobs keep on a container's own disk
        commands = [f"mkdir -p {self._place}/disk {scratch} && mount --bind {self._place}/disk {scratch}"]
        commands += [view.mounting() for view in self._views.values()]
        self.holder = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
            " && ".join([*commands, "echo mounted && exec setpriv --pdeathsig KILL sleep infinity"]),
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert self.holder.stdout is not None
        assert await self.holder.stdout.readline() == b"mounted\n"

    async def _work(self, port: int) -> int:
        assert self.holder is not None
        assert self.call is not None
        arguments = self._place / "arguments"
        arguments.write_bytes(self._arguments().SerializeToString())
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MODAL_")},
            **self.modal.secrets_of(self.kind[0]),
            **{"PYTHONPATH": f"{PROJECT / 'tests' / 'support' / 'container'}:{PROJECT}", **self.modal.environment},
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_SERVER_URL": f"http://127.0.0.1:{port}",
            "MODAL_TASK_ID": f"ta-{self.call.id}",
            "MODAL_IS_REMOTE": "1",
            "MODAL_FUNCTION_RUNTIME": "gvisor",
            "PYTHONUNBUFFERED": "1",
        }
        script = f"cd {self.modal.state} && exec {sys.executable} -m modal._container_entrypoint"
        self.process = await asyncio.create_subprocess_exec(
            *("nsenter", "--mount", "--target", str(self.holder.pid), "sh", "-c", script),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        background = asyncio.get_running_loop().create_task(self._commit_now_and_then())
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self.last.log += chunk
        code = await self.process.wait()
        background.cancel()
        return code

    def _end(self, code: int) -> None:
        call = self.call
        if call is None:
            return
        crashed = self.modal.reschedules and call.taken and not call.cancelled
        if (call.preempted or crashed) and not call.outputs:
            call.preempted = call.taken = False
            self.modal.containers.dispatch(call)  # Modal gives the input to another machine
        elif not call.outputs:
            status = TERMINATED if call.cancelled else INTERNAL
            call.finish(api_pb2.GenericResult(status=status, exception=f"container exited with {code}"))

    def _arguments(self) -> api_pb2.ContainerArguments:
        function_id = self.kind[0]
        return api_pb2.ContainerArguments(
            task_id=f"ta-{self.last.id}",
            function_id=function_id,
            app_id="ap-1",
            function_def=self._function,
            app_layout=self.modal.layout(),
            environment_name="main",
        )

    async def _commit_now_and_then(self) -> None:
        while self.modal.rules.background is not None:
            await asyncio.sleep(self.modal.rules.background)
            await self.commit()

    async def commit(self, volume_id: str = "") -> None:
        """Commit one volume, or all that it has mounted."""
        for name, view in self._views.items():
            if not volume_id or name == volume_id:
                assert self.holder is not None
                await asyncio.to_thread(view.commit, self.holder.pid)
                self.modal.note_commit(name)

    async def reload(self, volume_id: str) -> None:
        """Show the container what others have committed."""
        assert self.holder is not None
        await asyncio.to_thread(self._views[volume_id].reload, self.holder.pid)

    async def _unmount(self) -> None:
        if self.holder is not None:
            _kill(self.processes())
            with suppress(ProcessLookupError):
                self.holder.kill()
            await self.holder.wait()
        await asyncio.to_thread(shutil.rmtree, self._place, ignore_errors=True)

    def preempt(self, number: int = signal.SIGINT) -> None:
        """Take the machine away: Modal signals the container, and starts its input again elsewhere."""
        assert self.process is not None
        assert self.call is not None
        self.call.preempted = True
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End the container's processes at once, as a lost machine would; what was not committed is lost."""
        self._killed = True
        if self.process is not None and self.process.returncode is None:
            _kill(self.processes())

    def processes(self) -> list[psutil.Process]:
        """What lives in the container."""
        return living(self.holder.pid) if self.holder is not None else []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


class Containers:
    """All containers, and the calls that wait for one."""

    def __init__(self, modal: ModalServer) -> None:
        self._modal = modal
        self.all: list[Container] = []
        self._waiting: collections.deque[Call] = collections.deque()

    def kind(self, call: Call) -> Kind:
        """What a container must have in common with a call to take it."""
        return call.function_id, repr(sorted(self._modal.environment.items()))

    def dispatch(self, call: Call) -> None:
        """Give a call to a warm container or to a new one; it waits where the function has as many as it may."""
        kind = self.kind(call)
        for container in self.all:
            if container.idle and container.kind == kind:
                container.give(call)
                return
        base = self._modal.bound.get(call.function_id, call.function_id)
        most = self._modal.functions[base].autoscaler_settings.max_containers
        working = [c for c in self.all if self._modal.bound.get(c.kind[0], c.kind[0]) == base and not c.idle]
        if most and len(working) >= most:
            self._waiting.append(call)
            return
        container = Container(self._modal, call)
        call.container = container
        self.all.append(container)
        self._modal.begin_task(self._run(container))

    async def _run(self, container: Container) -> None:
        try:
            await container.run()
        finally:
            self.all.remove(container)
            for call in list(self._waiting):
                self._waiting.remove(call)
                self.dispatch(call)

    def retried(self, container: Container, result: api_pb2.GenericResult) -> bool:
        """Did an input fail that its function has another try for (``retries``, guide/retries)? Then it is begun again.

        A cancelled one is none: "Cancel the FunctionCall and terminate its inputs without retrying" (the client).
        """
        call = container.last
        policy = self._modal.functions[self._modal.bound.get(call.function_id, call.function_id)].retry_policy
        if result.status != FAILURE or call.failures >= policy.retries:
            return False
        call.failures += 1
        call.taken = False
        self.dispatch(call)  # to another container: this one is about to end
        container.call = None
        return True

    def waiting_for(self, container: Container) -> Call | None:
        """A call that waits and that this container could take."""
        for call in self._waiting:
            if self.kind(call) == container.kind:
                self._waiting.remove(call)
                return call
        return None

    def forget(self, call: Call) -> None:
        """A call that was cancelled while it waited."""
        with suppress(ValueError):
            self._waiting.remove(call)
