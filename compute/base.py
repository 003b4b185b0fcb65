"""The port: start a job, follow it from any process, cancel it, and reach the files of the three volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

State = Literal["running", "done", "failed", "cancelled", "unknown"]


@dataclass(frozen=True)
class Status:
    """What is known of a call. ``heartbeat`` is seconds since it last gave a sign of life."""

    state: State
    heartbeat: float | None = None

    @property
    def ended(self) -> bool:
        """Nothing more will come of it."""
        return self.state != "running"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a volume: ``path`` is relative to the volume, ``size`` in bytes."""

    path: str
    size: int


@dataclass(frozen=True)
class Billed:
    """What an app has cost on a day, as whoever rents out the machines bills it.

    Attributes:
        day: the UTC day (YYYY-MM-DD).
        cost: in USD.
        by: resource (a GPU, CPU, memory) → its part of the cost (USD), in the biller's own words.
    """

    app: str
    day: str
    cost: float
    by: dict[str, float]


class Compute(Protocol):
    """Where jobs run. Whoever has a call id can attach, also after the starter was killed.

    Attributes:
        pace: seconds between two looks at a call that works for long: the dearer a look, the more.
    """

    name: str
    pace: float

    def start(self, job: str, args: dict[str, Any]) -> str:
        """Start a job and return its call id at once.

        Raises:
            ComputeError: the job cannot be started here; the message says what to do.
        """
        ...

    def poll(self, call_id: str) -> Status:
        """Where the call stands."""
        ...

    def result(self, call_id: str) -> dict[str, Any]:
        """The result of a call that has ended.

        Raises:
            SftError: the job's own error, as it was raised there; JobDied if it ended without a result.
        """
        ...

    def logs(self, call_id: str, cursor: str) -> tuple[list[str], str]:
        """Whole lines since ``cursor`` (an empty text for the start), and the cursor behind them."""
        ...

    def cancel(self, call_id: str, *, now: bool = False) -> None:
        """Stop the call and all its processes; returns when they are gone, within 10 s.

        Args:
            now: leave no time to save a checkpoint.
        """
        ...

    def link(self, call_id: str) -> str:
        """Where a person can look at the call: a folder or a web page."""
        ...

    def dataset_root(self, folder: Path, fingerprint: str) -> str:
        """Where a job finds the dataset that lies in the local ``folder``."""
        ...

    def read(self, volume: str, path: str) -> bytes | None:
        """A file's content, or None where there is none."""
        ...

    def list(self, volume: str, path: str) -> list[RemoteFile]:
        """All files below ``path``; empty where there are none."""
        ...

    def get(self, volume: str, path: str, target: Path) -> str:
        """Copy one file of a volume to ``target``; returns the sha256 (hex) of what was written.

        Raises:
            ComputeError: there is no such file.
        """
        ...

    def put(self, volume: str, source: Path, path: str) -> None:
        """Copy a local file to a volume."""
        ...

    def put_all(self, volume: str, files: Sequence[tuple[Path, str]]) -> None:
        """Copy many local files (source, path) to a volume in one go."""
        ...

    def check_room(self, volume: str, paths: Sequence[str], say: Callable[[str], None]) -> None:
        """Make sure that the volume takes these files before any is sent; ``say`` hears what will be slow.

        Raises:
            ComputeError: they are too many; the message says what to do.
        """
        ...

    def entries(self, volume: str) -> int | None:
        """Files and folders on a volume that takes so many and no more; None where nothing bounds them."""
        ...

    def remove(self, volume: str, path: str) -> None:
        """Remove a file or a folder of a volume; nothing happens where there is none."""
        ...

    def rates(self) -> dict[str, float]:
        """Prices of an hour (USD) in the biller's own words; empty where none are given.

        Raises:
            SftError: they cannot be asked for.
        """
        ...

    def billed(self, since: float, until: float) -> Sequence[Billed]:
        """What is billed for the whole UTC days between two moments (Unix times in seconds).

        Raises:
            ComputeError: nobody bills here, or the account may not see it.
        """
        ...
