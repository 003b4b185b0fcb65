"""A run whose flow is hosted at Modal: what it was given when it was started, and what it leaves on the outputs volume.

Two kinds of files: ``calls/hosted-KEY.json`` says which call works on a run (:mod:`runs.calls`), ``hosted/CALL.json``
what a call's containers need to know of each other: the flow run of the one before, and the run's entry in the ledger.
Needs no Prefect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from compute.base import Compute
from compute.records import put_json, read_json
from runs import calls
from sft.config import RunConfig
from sft.dataset.packing import Amount
from sft.jobs.evaluate import Guard
from sft.jobs.placed_rows import DatasetPlace
from sft.store import records

HOSTED = "hosted-"  # begins the keys of hosted runs
FOLDER = "hosted"


class Prepared(BaseModel):
    """What was validated and uploaded where the run was started; the container has none of the files.

    ``place`` is None where the rows lie on the volume already (``dataset.volume``). ``amount`` is (rows, tokens of a
    row → rows, as pairs).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: DatasetPlace | None = None
    amount: tuple[int, list[tuple[int, int]]] = (0, [])
    guards: dict[str, Guard] = Field(default_factory=dict)

    @property
    def rows(self) -> tuple[DatasetPlace, Amount] | None:
        """(where jobs find the rows, what is trained on)."""
        return None if self.place is None else (self.place, Amount.of_pairs(*self.amount))


class Request(BaseModel):
    """What a hosted run is started with; plain data travels. ``name`` is the configuration's."""

    model_config = ConfigDict(extra="ignore")

    config: RunConfig
    prepared: Prepared
    name: str
    call_id: str = ""

    @property
    def key(self) -> str:
        """Names the run: the same values have the same key."""
        values = self.config.model_dump(mode="json")
        return f"{HOSTED}{self.name}-{records.fingerprint(values)[:8]}"


class Hosted:
    """This process's hosted run.

    Attributes:
        call_id: of the container's input; the same in the container that replaces this one.
        earlier: the flow run of the container before, or an empty text.
        entry: the ledger's id of the run, and when it began (Unix time in seconds): one for all its containers.
    """

    def __init__(self, request: Request, compute: Compute) -> None:
        self.prepared, self.call_id, self._compute = request.prepared, request.call_id, compute
        self._said = read_json(compute, "outputs", self._file) or {}
        self.earlier = str(self._said.get("flow_run", ""))
        self.entry: tuple[str, float] | None = None
        if "entry" in self._said and "started" in self._said:
            self.entry = (str(self._said["entry"]), float(self._said["started"]))
        self.note(containers=self.containers + 1)

    @property
    def replaced_since(self) -> float | None:
        """Where another container has worked on the run before: when the run began (Unix time in seconds)."""
        return self.entry[1] if self.entry is not None and self.containers > 1 else None

    @property
    def outcome(self) -> dict[str, Any] | None:
        """What the run has come to, where a container was taken away after its end."""
        said = self._said.get("outcome")
        return said if isinstance(said, dict) else None

    @property
    def containers(self) -> int:
        """How many have worked on it, this one included."""
        return int(self._said.get("containers", 0))

    @property
    def _file(self) -> str:
        return f"{FOLDER}/{self.call_id}.json"

    def note(self, **values: Any) -> None:
        """Leave word for the container that may come after this one."""
        self._said |= values
        put_json(self._compute, "outputs", self._file, self._said)

    def named(self, entry: str, started: float) -> None:
        """The ledger's id of the run and when it began, for the containers after this one."""
        self.entry = (entry, started)
        self.note(entry=entry, started=started)


_HOSTED: list[Hosted] = []


@contextmanager
def hosting(run: Hosted) -> Iterator[None]:
    """Runs in the block are this hosted one."""
    _HOSTED.append(run)
    try:
        yield
    finally:
        _HOSTED.pop()


def hosted() -> Hosted | None:
    """This process's hosted run; None on a machine of somebody's."""
    return _HOSTED[-1] if _HOSTED else None


def hosted_calls(compute: Compute) -> dict[str, str]:
    """Key without its beginning → call id, of the hosted runs that work now."""
    return {key.removeprefix(HOSTED): call for key, call in calls.running_calls(compute, HOSTED).items()}
