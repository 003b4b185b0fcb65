"""The RPCs of the stand-in for Modal (tests/support/modal_server.py), by the protocol's names."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_grpc, api_pb2

from tests.support.modal_calls import TERMINATED, Call, Container, Mapping
from tests.support.modal_dicts import DictHandlers

if TYPE_CHECKING:
    from tests.support.modal_server import ModalServer

DONE = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
FAILED = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
BUILDER = "2026.10"  # the newest that the client knows


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
