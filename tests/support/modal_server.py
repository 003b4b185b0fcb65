"""A server that stands in for Modal: the unmodified client talks to it, calls run in Modal's container entrypoint.

It keeps deployments, calls and volumes (as folders; tests/support/modal_volumes.py says what a container sees of them),
starts containers as processes (modal_calls.py), answers the protocol's RPCs (modal_rpcs.py), and can fail on purpose.
What it does not have is Modal's cloud: images are recorded, not built, and every container runs this machine's Python.
"""

from __future__ import annotations

import asyncio
import collections
import copy
import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web
from grpclib import Status
from grpclib.server import Server
from modal._serialization import serialize_data_format
from modal_proto import api_pb2

from tests.support.modal_calls import PROJECT, Call, Container, Containers, Mapping
from tests.support.modal_dicts import Dicts
from tests.support.modal_rpcs import DONE, RPCS, servicer
from tests.support.modal_volumes import Rules, Stored

__all__ = ["DONE", "PROJECT", "RPCS", "Call", "Container", "ModalServer", "Rules"]
V1 = api_pb2.VOLUME_FS_VERSION_V1


class ModalServer:
    """The state, and the thread that serves it.

    ``faults`` maps an RPC's name to how often it still fails with UNAVAILABLE. ``simulated`` is for benchmarks of what
    is around the containers: it says how long (s) a call takes, which then ends well without any container.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.volumes_folder = state / "modal-volumes"
        self.functions: dict[str, api_pb2.Function] = {}
        self.bound: dict[str, str] = {}  # bound function id → base function id
        self.options: dict[str, api_pb2.FunctionOptions] = {}
        self.cards: dict[str, list[str]] = collections.defaultdict(list)  # function → its cards, the best first
        self.images: dict[str, api_pb2.Image] = {}
        self.calls: dict[str, Call] = {}
        self.mappings: dict[str, Mapping] = {}
        self.commits: list[tuple[float, set[str]]] = []  # when, and the files of the outputs volume at that time
        self.files: dict[str, bytes] = {}
        self.volume_ids: dict[str, str] = {}
        self.deployed: dict[str, dict[str, str]] = {}  # app → function name → id
        self.faults: collections.Counter[str] = collections.Counter()
        self.rpcs: collections.Counter[str] = collections.Counter()
        self.secrets: dict[str, dict[str, str]] = {}
        self.refused: dict[str, Status] = {}  # RPC → the status with which it always fails
        self.refused_once: list[tuple[str, Status]] = []  # … with which it fails as often as it stands there
        self.simulated: Callable[[api_pb2.FunctionInput], float] | None = None
        self.environment: dict[str, str] = {}  # what containers have besides: a PYTHONPATH breaks their imports
        self.delay = 0.0  # seconds that each answer takes longer
        self.broken_image = ""  # part of a command whose layer cannot be built
        self.token_valid = True
        self.dicts = Dicts()
        self.rates: dict[str, str] = {}  # what an hour costs; keys are those of recorded `modal billing rates --json`
        self.billed: list[api_pb2.WorkspaceBillingReportItem] = []  # modal_proto/api.proto has the fields
        self.cut: collections.Counter[str] = collections.Counter()  # RPC → how many answers are lost behind the act
        self.expired: set[str] = set()  # calls whose results are kept no longer: neither outputs nor inputs that work
        # Does the input of a container that crashed behind its start go to the next one, as Modal says of deployed
        # functions (guide/retries)? Else the call ends, as it does "where the crash rate exceeds a limit".
        self.reschedules = False
        self.crowd = 0  # files that every volume lists besides its own
        self.version = V1  # of every volume
        self.rules = Rules()
        self.warm = 3.0  # seconds that a container waits for another call
        self.containers = Containers(self)
        self._stored: dict[str, Stored] = {}
        self.url = ""
        self.http = ""
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        started = threading.Event()
        self._started = started
        self._thread.start()
        assert started.wait(20)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def take_over(self, other: ModalServer) -> None:
        """Have what was deployed, put and called at another server, as if it had been here."""
        for name in ("functions", "bound", "options", "cards", "images", "files", "volume_ids", "deployed", "secrets"):
            setattr(self, name, copy.deepcopy(getattr(other, name)))
        self.dicts.named, self.calls = copy.deepcopy(other.dicts.named), dict(other.calls)
        shutil.copytree(other.volumes_folder, self.volumes_folder, symlinks=True, dirs_exist_ok=True)

    async def _shut(self) -> None:
        for container in list(self.containers.all):
            container.kill()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=10)
        server, runner = self._servers
        server.close()
        await runner.cleanup()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()

    async def _listen(self) -> None:
        server = Server([servicer(self, None)])
        await server.start("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
        application = web.Application(client_max_size=1 << 30)
        application.router.add_get("/volume/{volume}/{path:.*}", self._get_block)
        application.router.add_put("/blob/{name}", self._put_blob)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.http = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
        self._servers = (server, runner)
        self._started.set()

    async def _get_block(self, request: web.Request) -> web.Response:
        path = self.folder(request.match_info["volume"]) / request.match_info["path"]
        start, length = int(request.query["start"]), int(request.query["len"])
        with path.open("rb") as file:
            file.seek(start)
            return web.Response(body=file.read(length))

    async def _put_blob(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.files[request.match_info["name"]] = body
        return web.Response(headers={"ETag": hashlib.md5(body).hexdigest()})

    def folder(self, volume_id: str) -> Path:
        path = self.volumes_folder / volume_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def secrets_of(self, function_id: str) -> dict[str, str]:
        """The environment that a call's secrets give its container: those of its options replace the deployed ones."""
        options = self.options.get(function_id)
        base = self.functions[self.bound.get(function_id, function_id)]
        ids = options.secret_ids if options is not None and options.replace_secret_ids else base.secret_ids
        return {k: v for id_ in ids for k, v in self.secrets.get(id_.removeprefix("st-"), {}).items()}

    def volume(self, volume_id: str) -> Stored:
        """A volume's committed state."""
        if volume_id not in self._stored:
            self._stored[volume_id] = Stored(self.folder(volume_id))
        return self._stored[volume_id]

    def note_commit(self, volume_id: str) -> None:
        """Remember what others see from now on."""
        if volume_id.endswith("-outputs"):
            self.commits.append((time.monotonic(), self.volume(volume_id).files()))

    def layout(self) -> api_pb2.AppLayout:
        objects = [api_pb2.Object(object_id=id_, function_handle_metadata=self.metadata(id_)) for id_ in self.functions]
        others = [*self.images, *self.volume_ids.values(), *(f"st-{name}" for name in self.secrets), "mo-1"]
        objects += [api_pb2.Object(object_id=id_) for id_ in others]
        return api_pb2.AppLayout(objects=objects, function_ids={f.function_name: i for i, f in self.functions.items()})

    def metadata(self, function_id: str) -> api_pb2.FunctionHandleMetadata:
        function = self.functions[self.bound.get(function_id, function_id)]
        formats = [api_pb2.DATA_FORMAT_PICKLE, api_pb2.DATA_FORMAT_CBOR]
        return api_pb2.FunctionHandleMetadata(
            function_name=function.function_name,
            function_type=function.function_type,
            definition_id=f"de-{function_id}",
            supported_input_formats=formats,
            supported_output_formats=formats,
            app_id="ap-1",
        )

    def data(self, function_id: str) -> api_pb2.FunctionData:
        function = self.functions[function_id]
        ranked = api_pb2.FunctionData.RankedFunction(rank=0, function=function)
        return api_pb2.FunctionData(function_name=function.function_name, ranked_functions=[ranked])

    def begin(self, function_id: str, item: api_pb2.FunctionInput, idx: int = 0, mapping: str = "") -> Call:
        call = Call(f"fc-{len(self.calls) + 1}", function_id, item, idx, mapping)
        self.calls[call.id] = call
        if self.simulated is None:
            self.containers.dispatch(call)
        else:
            self.begin_task(_end_well(call, self.simulated(item)))
        return call

    def fire(self, function: str) -> str:
        """A function's schedule comes round: Modal calls it without arguments. Returns the call's id."""
        data = serialize_data_format(((), {}), api_pb2.DATA_FORMAT_PICKLE)
        item = api_pb2.FunctionInput(args=data, data_format=api_pb2.DATA_FORMAT_PICKLE)

        async def begin() -> str:
            return self.begin(f"fu-{function}", item).id

        return asyncio.run_coroutine_threadsafe(begin(), self._loop).result(20)

    def begin_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something happen while the server serves."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _end_well(call: Call, seconds: float) -> None:
    await asyncio.sleep(seconds)
    data = serialize_data_format({"ok": True, "value": {}}, api_pb2.DATA_FORMAT_CBOR)
    call.finish(api_pb2.GenericResult(status=DONE, data=data), api_pb2.DATA_FORMAT_CBOR)
