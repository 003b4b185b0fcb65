"""A web server that keeps what is posted to it: the other end of a webhook."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
