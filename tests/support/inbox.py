"""Servers that keep what is sent to them: the other ends of a webhook and of an e-mail."""

from __future__ import annotations

import email
import http.server
import json
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from cli.temporary_server import free_port
from tests.support.web_server import listening


class Inbox:
    """``messages`` are the posted JSON objects; ``status`` is what the server answers."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        self.url = ""


@contextmanager
def inbox() -> Iterator[Inbox]:
    """Serve an inbox while the block runs."""
    box = Inbox()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if box.status == 200:
                box.messages.append(json.loads(content))
            self.send_response(box.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Handler) as url:
        box.url = f"{url}/hook"
        yield box


class Mailbox:
    """``letters`` are (recipients, message) as an SMTP server was given them."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], EmailMessage]] = []
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        message = email.message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        self.letters.append((envelope.rcpt_tos, message))
        return "250 kept"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Serve a mailbox while the block runs."""
    box = Mailbox()
    box.port = free_port()  # the controller wants to know it beforehand
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
