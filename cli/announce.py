"""Tell Prefect's event feed what a command has done, so that automations can act on it (docs/prefect.md)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sft.errors import SftError

if TYPE_CHECKING:
    from sft.config import RunConfig

ANSWERS = 1.0  # seconds in which the server has to answer, and again in which it has to take the event
Say = Callable[[str], None]


def announce(train: Path, say: Say) -> None:
    """Emit ``sft.data.new`` for a training set."""

    def tell() -> None:
        from tasks.events import emit

        emit("sft.data.new", "data", str(train.resolve()), name=train.name)

    _told(tell, say, "no automation hears of the new data")


def announce_decision(
    config: RunConfig, event: Literal["sft.promoted", "sft.refused"], identity: str, decision: str, by: str, say: Say
) -> None:
    """Emit what a person has decided at the terminal.

    Args:
        identity: of the training, whole.
        decision: in words.
        by: hand, rollback or gate: what put the model into service, as the champion's record says it.
    """

    def tell() -> None:
        from tasks.events import emit

        facts = {"decision": decision, "by": by}
        emit(event, "training", identity, name=config.name, profile=config.profile, facts=facts)

    _told(tell, say, "no automation hears of it")


def _told(tell: Callable[[], None], say: Say, otherwise: str) -> None:
    """Nothing where no server is configured; one that is gone is said. A command that has done its work does not fail,
    or wait for long, because nobody hears of it.
    """
    from cli.temporary_server import may_be_configured

    if not may_be_configured():
        return
    asked = os.environ.get("PREFECT_API_URL", "")
    if asked and (silent := _silent(asked)):  # before Prefect is imported, which takes seconds
        say(f"note: {otherwise}: {silent}")
        return
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value() or ""
    if not address:
        return
    if address != asked and (silent := _silent(address)):
        say(f"note: {otherwise}: {silent}")
        return
    tell()
    EventsWorker.drain_all(timeout=ANSWERS)


def _silent(address: str) -> str:
    """Why nobody can be told there, in words; empty where somebody answers in time."""
    from cli.temporary_server import api_answers

    found = [f"Prefect's API does not answer within {ANSWERS:g} s: {address}"]

    def ask() -> None:
        try:
            api_answers(address)
            found[:] = [""]
        except SftError as error:
            found[:] = [str(error)]

    asking = threading.Thread(target=ask, daemon=True)  # a server may also answer byte by byte
    asking.start()
    asking.join(ANSWERS)
    return found[0]
