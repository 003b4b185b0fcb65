"""Modal's Dicts, for the stand-in server.

By the client's source (1.6.4, modal/dict.py) and Modal's documentation (modal.com/docs/guide/dicts, the announcement
modal.com/blog/cache-dict-launch):

- keys and values are bytes that the client has serialized; the server compares keys as bytes;
- ``put(skip_if_exists=True)`` is DictUpdate with if_not_exists: of all who ask for one key, exactly one is told
  ``created``; without the flag the entry is replaced, and ``created`` says whether it is new;
- an entry is kept in durable storage, visible to all at once, and expires after 7 days without a read or write;
- ``pop`` of a key that is not there is no error of the server's: ``found`` is false;
- a name that does not exist is NOT_FOUND unless the client asks for CREATE_IF_MISSING.

A request that the client repeats after it was cut (faults: UNAVAILABLE) was not carried out here, or was, if the test
names the RPC in ``cut``: then the answer alone is lost, so that the repeated add finds its own entry.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

if TYPE_CHECKING:
    from tests.support.modal_server import ModalServer

EXPIRY = 7 * 86400  # seconds


class Dicts:
    """All Dicts of the server: name → key → (value, when it was last read or written)."""

    def __init__(self) -> None:
        self.named: dict[str, dict[bytes, tuple[bytes, float]]] = {}
        self.shift = 0.0  # seconds that the server's clock is ahead: what is idle for long has expired

    def of(self, dict_id: str) -> dict[bytes, tuple[bytes, float]]:
        """The Dict's entries that have not expired."""
        name = dict_id.removeprefix("di-")
        if name not in self.named:
            raise GRPCError(Status.NOT_FOUND, f"Dict {dict_id} not found")
        now = time.monotonic() + self.shift
        self.named[name] = {k: (v, seen) for k, (v, seen) in self.named[name].items() if now - seen < EXPIRY}
        return self.named[name]

    def read(self, dict_id: str, key: bytes) -> bytes | None:
        """The value; whoever reads it keeps it from expiring."""
        entries = self.of(dict_id)
        if key not in entries:
            return None
        entries[key] = (entries[key][0], time.monotonic() + self.shift)
        return entries[key][0]


class DictHandlers:
    """The RPCs; names are the protocol's. They run in one thread and never wait: each is atomic."""

    modal: ModalServer

    async def DictGetOrCreate(self, r: Any) -> Any:
        dicts = self.modal.dicts
        if r.deployment_name not in dicts.named:
            if r.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise GRPCError(Status.NOT_FOUND, f"Dict '{r.deployment_name}' not found in environment 'main'.")
            dicts.named[r.deployment_name] = {}
        metadata = api_pb2.DictMetadata(name=r.deployment_name)
        return api_pb2.DictGetOrCreateResponse(dict_id=f"di-{r.deployment_name}", metadata=metadata)

    async def DictUpdate(self, r: Any) -> Any:
        entries, created = self.modal.dicts.of(r.dict_id), False
        now = time.monotonic() + self.modal.dicts.shift
        for update in r.updates:
            new = update.key not in entries
            created = created or new
            if new or not r.if_not_exists:
                entries[update.key] = (update.value, now)
        self.lose_the_answer("DictUpdate")
        return api_pb2.DictUpdateResponse(created=created)

    async def DictGet(self, r: Any) -> Any:
        value = self.modal.dicts.read(r.dict_id, r.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def DictContains(self, r: Any) -> Any:
        return api_pb2.DictContainsResponse(found=self.modal.dicts.read(r.dict_id, r.key) is not None)

    async def DictPop(self, r: Any) -> Any:
        value, _ = self.modal.dicts.of(r.dict_id).pop(r.key, (None, 0.0))
        self.lose_the_answer("DictPop")
        return api_pb2.DictPopResponse(found=value is not None, value=value)

    async def DictClear(self, r: Any) -> Any:
        self.modal.dicts.of(r.dict_id).clear()
        return Empty()

    async def DictLen(self, r: Any) -> Any:
        return api_pb2.DictLenResponse(len=len(self.modal.dicts.of(r.dict_id)))

    async def DictDelete(self, r: Any) -> Any:
        self.modal.dicts.named.pop(r.dict_id.removeprefix("di-"), None)
        return Empty()

    def lose_the_answer(self, rpc: str) -> None:
        """The act was done; whoever asked does not hear it."""
        if self.modal.cut[rpc] > 0:
            self.modal.cut[rpc] -= 1
            raise GRPCError(Status.UNAVAILABLE, "the answer was lost")
