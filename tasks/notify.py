"""Step notify: tell people how a run ended, through Prefect's notification blocks (Slack, e-mail, webhook, …)."""

from __future__ import annotations

from prefect.blocks.core import Block

from sft.config import RunConfig
from sft.config.model import Event
from tasks.ledger import redacted
from tasks.step import step
from tasks.telling import tell


@step("notify", "Tell people how the run ended")
def notify(config: RunConfig, event: Event, text: str) -> int:
    """Send to every block of ``notify.blocks`` if it is to hear of the event; returns how many were told.

    A block that is missing or fails is said in the log: no run fails because nobody could be told.
    """
    told = 0
    for name in config.notify.blocks:
        try:
            block = Block.load(name)
            if not hasattr(block, "notify"):
                raise TypeError("it is no notification block")
            block.notify(body=redacted(text), subject=f"sft {config.name}: {event}")
            told += 1
        except Exception as error:  # whatever a block raises
            tell(f"nobody was told through {name}: {redacted(str(error))[:300]}")
    return told


def heard(config: RunConfig, event: Event) -> bool:
    """Does anybody want to hear of the event?"""
    return bool(config.notify.blocks) and event in config.notify.on
