"""Step notify: tell people how a run ended, through Prefect's notification blocks (Slack, e-mail, webhook, …)."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Sequence
from typing import Any

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from sft.config import RunConfig
from sft.config.sections import MAIL, Event
from sft.errors import InputError, without_secrets
from tasks.step import step
from tasks.telling import tell


def check_blocks(config: RunConfig) -> None:
    """Before anything is done: would anybody hear of the end?

    Raises:
        InputError: blocks that do not exist. Whether one works is seen when it is used.
    """
    if not config.notify.blocks:
        return
    lacking = []
    with get_client(sync_client=True) as client:
        for block in config.notify.blocks:
            kind, _, name = block.partition("/")
            try:
                client.read_block_document_by_name(name, kind)
            except ObjectNotFound:
                lacking.append(block)
    if lacking:
        raise InputError(
            "Prefect's server has no such notification block: nobody would be told how the run ends",
            where="notify.blocks",
            value=", ".join(lacking),
            remedy="prefect block ls lists those that it has; make it in the UI (Blocks), or take it out",
        )


@step("notify", "Tell people how the run ended")
def notify(config: RunConfig, event: Event, text: str) -> int:
    """Send to every block of ``notify.blocks`` if it is to hear of the event; returns how many were told.

    A block that fails is said in the log: no run fails because nobody could be told.
    """
    told, subject, body = 0, f"sft {config.name}: {event}", without_secrets(text)
    for name in config.notify.blocks:
        try:
            if name.startswith(f"{MAIL}/"):
                _mail(name, config.notify.to, subject, body)
            else:
                block = Block.load(name)
                if not hasattr(block, "notify"):
                    raise TypeError("it is no notification block")
                block.notify(body=body, subject=subject)
            told += 1
        except Exception as error:  # whatever a block raises
            tell(f"nobody was told through {name}: {without_secrets(str(error))[:300]}")
    return told


def _mail(name: str, to: Sequence[str], subject: str, text: str) -> None:
    """Send by the SMTP server of a block; without a user name the first address is the sender's too."""
    from prefect_email import email_send_message

    server: Any = Block.load(name)
    page = f"<pre>{html.escape(text)}</pre>"
    sender = server.username or to[0]
    body = {"subject": subject, "msg": page, "msg_plain": text, "email_from": sender, "email_to": list(to)}
    asyncio.run(email_send_message.fn(email_server_credentials=server, **body))


def heard(config: RunConfig, event: Event) -> bool:
    """Does anybody want to hear of the event?"""
    return bool(config.notify.blocks) and event in config.notify.on
