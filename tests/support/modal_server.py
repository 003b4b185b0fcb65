"""A server that stands in for Modal: the unmodified client talks to it, calls run in Modal's container entrypoint.

It keeps deployments, calls and volumes (as folders; tests/support/modal_volumes.py says what a container sees of them),
starts containers as processes (modal_calls.py), and can fail on purpose. What it does not have is Modal's cloud: images
are recorded, not built, and every container runs this machine's Python.
"""

from __future__ import annotations

import asyncio
import collections
import copy
import hashlib
import inspect
import shutil
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web
from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from grpclib.server import Server
from modal._serialization import serialize_data_format
from modal_proto import api_grpc, api_pb2

from tests.support.modal_calls import PROJECT, TERMINATED, Call, Container, Containers, Mapping
from tests.support.modal_dicts import DictHandlers, Dicts
from tests.support.modal_volumes import Rules, Stored

__all__ = ["PROJECT", "RPCS", "Call", "Container", "ModalServer", "Rules"]
DONE = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
FAILED = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
BUILDER = "2026.10"  # the newest that the client knows
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


class _Handlers(DictHandlers):
    """One method for each RPC that the client or the container uses; names are the protocol's."""

    def __init__(self, modal: ModalServer, container: Container | None) -> None:
        self.modal, self.container = modal, container

    async def ClientHello(self, r: Empty) -> Any:
        return api_pb2.ClientHelloResponse(image_builder_version=BUILDER)

    async def AuthTokenGet(self, r: Any) -> Any:
        return api_pb2.AuthTokenGetResponse(token="")

    async def EnvironmentGetOrCreate(self, r: Any) -> Any:
        settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER)
        metadata = api_pb2.EnvironmentMetadata(name="main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    async def WorkspaceNameLookup(self, r: Any) -> Any:
        return api_pb2.WorkspaceNameLookupResponse(username="tests")

    async def WorkspaceBillingRates(self, r: Any) -> Any:
        return api_pb2.WorkspaceBillingRatesResponse(rates=self.modal.rates)

    async def WorkspaceBillingReport(self, r: Any, send: Callable[[Any], Any]) -> None:
        """As ``Workspace.billing.report`` says: whole days (UTC) from the start, inclusive, to the end, exclusive."""
        start, end = r.start_timestamp.ToSeconds(), r.end_timestamp.ToSeconds()
        for item in self.modal.billed:
            if start <= item.interval.ToSeconds() and item.interval.ToSeconds() + 86_400 <= end:
                await send(item)

    async def AppGetOrCreate(self, r: Any) -> Any:
        return api_pb2.AppGetOrCreateResponse(app_id=f"ap-{r.app_name}")

    async def AppGetByDeploymentName(self, r: Any) -> Any:
        known = r.name in self.modal.deployed
        return api_pb2.AppGetByDeploymentNameResponse(app_id=f"ap-{r.name}" if known else "")

    async def AppCreate(self, r: Any) -> Any:
        return api_pb2.AppCreateResponse(app_id=f"ap-{r.description}", app_page_url="https://modal.test/apps")

    async def AppGetLayout(self, r: Any) -> Any:
        return api_pb2.AppGetLayoutResponse(app_layout=self.modal.layout())

    async def AppSetTags(self, r: Any) -> Any:
        return Empty()

    async def AppHeartbeat(self, r: Any) -> Any:
        return Empty()

    async def AppClientDisconnect(self, r: Any) -> Any:
        return Empty()

    async def AppPublish(self, r: Any) -> Any:
        self.modal.deployed[r.name] = dict(r.function_ids)
        return api_pb2.AppPublishResponse(url=f"https://modal.test/apps/{r.name}")

    async def ImageGetOrCreate(self, r: Any) -> Any:
        id_ = "im-" + hashlib.sha256(r.image.SerializeToString(deterministic=True)).hexdigest()[:12]
        self.modal.images[id_] = r.image
        broken = self.modal.broken_image and any(self.modal.broken_image in c for c in r.image.dockerfile_commands)
        result = api_pb2.GenericResult(status=FAILED if broken else DONE, exception="exit code 1" if broken else "")
        return api_pb2.ImageGetOrCreateResponse(image_id=id_, result=result)

    async def MountBatchedCheckExistence(self, r: Any) -> Any:
        return api_pb2.MountBatchedCheckExistenceResponse()

    async def MountGetOrCreate(self, r: Any) -> Any:
        handle = api_pb2.MountHandleMetadata(content_checksum_sha256_hex="0" * 64)
        return api_pb2.MountGetOrCreateResponse(mount_id="mo-1", handle_metadata=handle)

    async def MountPutFile(self, r: Any) -> Any:
        if r.data_blob_id:
            self.modal.files[r.sha256_hex] = self.modal.files[r.data_blob_id]
        elif r.data or r.sha256_hex == hashlib.sha256().hexdigest():
            self.modal.files[r.sha256_hex] = r.data
        return api_pb2.MountPutFileResponse(exists=r.sha256_hex in self.modal.files)

    async def BlobCreate(self, r: Any) -> Any:
        """For files of 4 MiB and more; the client of 1.6.4 reads lists of places, one is enough (blob_utils.py)."""
        name = f"bl-{len(self.modal.files)}-{time.monotonic_ns()}"
        urls = api_pb2.UploadUrlList(items=[f"{self.modal.http}/blob/{name}"])
        return api_pb2.BlobCreateResponse(blob_ids=[name], upload_urls=urls)

    async def SecretGetOrCreate(self, r: Any) -> Any:
        """A name that does not exist is NOT_FOUND, as ``Secret.objects.delete`` of the client expects it."""
        secrets, name = self.modal.secrets, r.deployment_name
        if name and r.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED and name not in secrets:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found in environment 'main'.")
        if r.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS and name in secrets:
            raise GRPCError(Status.ALREADY_EXISTS, f"Secret '{name}' already exists.")
        if r.env_dict:
            name = name or f"env-{hashlib.sha256(repr(sorted(r.env_dict.items())).encode()).hexdigest()[:12]}"
            secrets[name] = dict(r.env_dict)
        return api_pb2.SecretGetOrCreateResponse(secret_id=f"st-{name or 'env'}")

    async def FunctionPrecreate(self, r: Any) -> Any:
        id_ = f"fu-{r.function_name}"
        self.modal.functions.setdefault(id_, api_pb2.Function(function_name=r.function_name))
        return api_pb2.FunctionPrecreateResponse(function_id=id_, handle_metadata=self.modal.metadata(id_))

    async def FunctionCreate(self, r: Any) -> Any:
        function = r.function
        if r.HasField("function_data"):  # several cards: one ranked function for each
            data = r.function_data
            function = data.ranked_functions[0].function
            function.module_name, function.function_name = data.module_name, data.function_name
            function.function_type = data.function_type
            for ranked in data.ranked_functions:
                self.modal.cards[data.function_name].append(ranked.function.resources.gpu_config.gpu_type)
        id_ = f"fu-{function.function_name}"
        self.modal.functions[id_] = function
        metadata = self.modal.metadata(id_)
        data = self.modal.data(id_)
        return api_pb2.FunctionCreateResponse(
            function_id=id_, function=function, handle_metadata=metadata, function_data=data
        )

    async def FunctionGet(self, r: Any) -> Any:
        id_ = self.modal.deployed.get(r.app_name, {}).get(r.object_tag)
        if id_ is None:
            what = f"Function '{r.object_tag}'" if r.app_name in self.modal.deployed else f"App '{r.app_name}'"
            raise GRPCError(Status.NOT_FOUND, f"{what} not found in environment 'main'.")
        metadata, data = self.modal.metadata(id_), self.modal.data(id_)
        return api_pb2.FunctionGetResponse(function_id=id_, handle_metadata=metadata, function=data)

    async def FunctionBindParams(self, r: Any) -> Any:
        id_ = f"{r.function_id}-{len(self.modal.bound)}"
        self.modal.bound[id_] = r.function_id
        self.modal.options[id_] = r.function_options
        metadata = self.modal.metadata(id_)
        return api_pb2.FunctionBindParamsResponse(bound_function_id=id_, handle_metadata=metadata)

    async def FunctionMap(self, r: Any) -> Any:
        if r.function_call_type == api_pb2.FUNCTION_CALL_TYPE_MAP:
            mapping = Mapping(f"fc-map-{len(self.modal.mappings)}", r.function_id)
            self.modal.mappings[mapping.id] = mapping
            return api_pb2.FunctionMapResponse(function_call_id=mapping.id, max_inputs_outstanding=1000)
        call = self.modal.begin(r.function_id, r.pipelined_inputs[0].input)
        item = api_pb2.FunctionPutInputsResponseItem(idx=0, input_id=call.input_id)
        return api_pb2.FunctionMapResponse(function_call_id=call.id, pipelined_inputs=[item])

    async def FunctionPutInputs(self, r: Any) -> Any:
        mapping = self.modal.mappings[r.function_call_id]
        calls = [self.modal.begin(mapping.function_id, item.input, item.idx, mapping.id) for item in r.inputs]
        mapping.shares += calls
        items = [api_pb2.FunctionPutInputsResponseItem(idx=c.idx, input_id=c.input_id) for c in calls]
        return api_pb2.FunctionPutInputsResponse(inputs=items)

    async def FunctionFinishInputs(self, r: Any) -> Any:
        return Empty()

    def _call(self, call_id: str) -> Call:
        if call_id not in self.modal.calls:
            raise GRPCError(Status.NOT_FOUND, f"Function call {call_id} not found")
        return self.modal.calls[call_id]

    async def FunctionGetOutputs(self, r: Any) -> Any:
        if r.function_call_id in self.modal.mappings:
            seen = int(r.last_entry_id.split("-")[0] or 0)
            outputs = await self.modal.mappings[r.function_call_id].outputs(seen, r.timeout)
            entry = f"{seen + len(outputs)}-0"
            return api_pb2.FunctionGetOutputsResponse(outputs=outputs, last_entry_id=entry)
        call = self._call(r.function_call_id)
        if call.id in self.modal.expired:
            return api_pb2.FunctionGetOutputsResponse(last_entry_id="0-0")
        try:
            await asyncio.wait_for(call.done.wait(), max(r.timeout, 0.001))
        except TimeoutError:
            return api_pb2.FunctionGetOutputsResponse(last_entry_id="0-0", num_unfinished_inputs=1)
        return api_pb2.FunctionGetOutputsResponse(idxs=[0], outputs=call.outputs, last_entry_id="1-0")

    async def FunctionCallFromId(self, r: Any) -> Any:
        call = self._call(r.function_call_id)
        metadata = api_pb2.FunctionCallHandleMetadata(app_id="ap-1", function_id=call.function_id)
        return api_pb2.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=1, metadata=metadata)

    async def FunctionCallGetInfo(self, r: Any) -> Any:
        call = self._call(r.function_call_id)
        info = api_pb2.FunctionCallInfo(function_call_id=call.id)
        (info.succeeded_inputs if call.done.is_set() else info.pending_inputs).total = 1
        return api_pb2.FunctionCallGetInfoResponse(info=info)

    async def FunctionCallCancel(self, r: Any) -> Any:
        call = self._call(r.function_call_id)
        call.cancelled = True
        self.modal.containers.forget(call)
        if call.container is not None and call.taken and not r.terminate_containers:
            call.container.cancelling.set()  # heard with the answer to its heartbeat; it ends the input by itself
        elif call.container is not None:
            call.container.kill()
        else:  # a simulated one, or one that waits for a container
            call.finish(api_pb2.GenericResult(status=TERMINATED, exception="terminated"))
        return Empty()

    async def AppCountLogs(self, r: Any) -> Any:
        return api_pb2.AppCountLogsResponse(app_id=r.app_id)

    async def AppGetLogs(self, r: Any, send: Callable[[Any], Any]) -> None:
        call, seen = self._call(r.function_call_id), int(r.last_entry_id or 0)
        end = time.monotonic() + (r.timeout or 55)
        while time.monotonic() < end:
            done = call.done.is_set()
            if len(call.log) > seen:
                whole = call.log.rfind(b"\n", seen) + 1 if not done else len(call.log)
                if whole > seen:
                    text = call.log[seen:whole].decode("utf-8", "replace")
                    seen = whole
                    item = api_pb2.TaskLogs(
                        data=text,
                        timestamp=time.time(),
                        file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT,
                        function_call_id=call.id,
                    )
                    await send(api_pb2.TaskLogsBatch(items=[item], entry_id=str(seen)))
                    continue
            if done:
                await send(api_pb2.TaskLogsBatch(entry_id=str(seen), app_done=True))
                return
            await asyncio.sleep(0.05)

    # What a container asks.

    async def ContainerHello(self, r: Any) -> Any:
        return Empty()

    async def ContainerHeartbeat(self, r: Any) -> Any:
        """Held back until there is something to say: the client gives it its interval and 0.1 s (modal/client.py)."""
        assert self.container is not None
        try:
            await asyncio.wait_for(self.container.cancelling.wait(), 10)
        except TimeoutError:
            return api_pb2.ContainerHeartbeatResponse()
        self.container.cancelling.clear()
        event = api_pb2.CancelInputEvent(input_ids=[self.container.last.input_id])
        return api_pb2.ContainerHeartbeatResponse(cancel_input_event=event)

    async def FunctionGetInputs(self, r: Any) -> Any:
        assert self.container is not None
        call = await self.container.next()
        if call is None:
            return api_pb2.FunctionGetInputsResponse(inputs=[api_pb2.FunctionGetInputsItem(kill_switch=True)])
        call.taken = True
        item = api_pb2.FunctionGetInputsItem(
            input_id=call.input_id,
            input=call.input,
            function_call_id=call.told_id,
            function_call_invocation_type=api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC,
        )
        return api_pb2.FunctionGetInputsResponse(inputs=[item])

    async def FunctionPutOutputs(self, r: Any) -> Any:
        assert self.container is not None
        for output in r.outputs:
            if not self.modal.containers.retried(self.container, output.result):
                self.container.last.finish(output.result, output.data_format)
        return Empty()

    async def TaskResult(self, r: Any) -> Any:
        assert self.container is not None
        if r.result.status != DONE:
            self.container.last.finish(r.result)
        return Empty()

    # Volumes of version 1, kept as folders.

    async def VolumeGetOrCreate(self, r: Any) -> Any:
        id_ = f"vo-{r.deployment_name}"
        self.modal.volume_ids[r.deployment_name] = id_
        self.modal.folder(id_)
        version = self.modal.version
        metadata = api_pb2.VolumeMetadata(version=version, name=r.deployment_name)
        return api_pb2.VolumeGetOrCreateResponse(volume_id=id_, version=version, metadata=metadata)

    async def VolumeCommit(self, r: Any) -> Any:
        assert self.container is not None, "Must be called inside a container that mounts the Volume"
        await self.container.commit(r.volume_id)
        self.lose_the_answer("VolumeCommit")
        return api_pb2.VolumeCommitResponse(skip_reload=not self.modal.rules.reload_after_commit)

    async def VolumeReload(self, r: Any) -> Any:
        assert self.container is not None, "Must be called inside a container that mounts the Volume"
        await self.container.reload(r.volume_id)
        self.lose_the_answer("VolumeReload")
        return Empty()

    async def VolumeListFiles(self, r: Any, send: Callable[[Any], Any]) -> None:
        root = self.modal.folder(r.volume_id)
        below = root / r.path.strip("/")
        if not below.exists():
            raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {r.path}")
        found = [below] if below.is_file() else sorted(below.rglob("*") if r.recursive else below.iterdir())
        entries = [
            api_pb2.FileEntry(
                path=path.relative_to(root).as_posix(),
                type=api_pb2.FileEntry.FILE if path.is_file() else api_pb2.FileEntry.DIRECTORY,
                mtime=int(path.stat().st_mtime),
                size=path.stat().st_size,
            )
            for path in found
        ]
        await send(api_pb2.VolumeListFilesResponse(entries=entries))
        for start in range(0, self.modal.crowd, 10_000):
            numbers = range(start, min(start + 10_000, self.modal.crowd))
            more = [api_pb2.FileEntry(path=f"datasets/old/{n}.png", type=api_pb2.FileEntry.FILE) for n in numbers]
            await send(api_pb2.VolumeListFilesResponse(entries=more))

    async def VolumeGetFile2(self, r: Any) -> Any:
        path = self.modal.folder(r.volume_id) / r.path.strip("/")
        if not path.is_file():
            raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {r.path}")
        size, block = path.stat().st_size, 8 << 20
        place = f"{self.modal.http}/volume/{r.volume_id}/{r.path.strip('/')}"
        urls = [f"{place}?start={at}&len={min(block, size - at)}" for at in range(0, size, block)]
        return api_pb2.VolumeGetFile2Response(get_urls=urls, size=size, start=0, len=size)

    async def VolumePutFiles(self, r: Any) -> Any:
        for file in r.files:
            self.modal.volume(r.volume_id).write(file.filename.strip("/"), self.modal.files[file.sha256_hex])
        return Empty()

    async def VolumeRemoveFile(self, r: Any) -> Any:
        path = self.modal.folder(r.volume_id) / r.path.strip("/")
        if not path.exists():
            raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {r.path}")
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return Empty()


RPCS = tuple(name for cls in (_Handlers, DictHandlers) for name in vars(cls) if name[0].isupper())


def servicer(modal: ModalServer, container: Container | None) -> Any:
    """A grpclib handler: what :class:`_Handlers` lacks answers UNIMPLEMENTED, and faults are injected here."""
    handlers = _Handlers(modal, container)
    names = [
        name for name, value in vars(api_grpc.ModalClientBase).items() if getattr(value, "__isabstractmethod__", 0)
    ]

    def method(name: str) -> Any:
        handler = getattr(handlers, name, None)

        async def serve(self: Any, stream: Any) -> None:
            request = await stream.recv_message()
            modal.rpcs[name] += 1
            if modal.delay:
                await asyncio.sleep(modal.delay)
            if not modal.token_valid and container is None:
                raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed")
            if handler is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"the stand-in server has no {name}")
            once = next((entry for entry in modal.refused_once if entry[0] == name), None)
            if once is not None:
                modal.refused_once.remove(once)
                raise GRPCError(once[1], f"{name} refused by the test")
            if name in modal.refused:
                raise GRPCError(modal.refused[name], f"{name} refused by the test")
            if modal.faults[name] > 0:
                modal.faults[name] -= 1
                raise GRPCError(Status.UNAVAILABLE, "injected")
            if len(inspect.signature(handler).parameters) == 2:
                await handler(request, stream.send_message)
            else:
                await stream.send_message(await handler(request))

        return serve

    cls = type("Servicer", (api_grpc.ModalClientBase,), {name: method(name) for name in names})
    return cls()
