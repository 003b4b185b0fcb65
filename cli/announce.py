"""Tell Prefect's event feed that new data is there, so that a deployment can train on it (docs/prefect.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sft.errors import SftError

PATIENCE = 5.0  # seconds in which the event has to reach the server


def announce(train: Path, say: Callable[[str], None]) -> None:
    """Emit ``sft.data.new`` for a training set. Nothing where no server is configured; one that is gone is said.

    A command that has done its work does not fail because nobody hears of it.
    """
    from cli.temporary_server import api_answers, may_be_configured

    if not may_be_configured():
        return
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL

    if not (address := PREFECT_API_URL.value()):
        return
    try:
        api_answers(address)
    except SftError as error:
        say(f"note: no automation hears of the new data: {error}")
        return
    from tasks.events import emit

    emit("sft.data.new", "data", str(train.resolve()), name=train.name)
    EventsWorker.drain_all(timeout=PATIENCE)
