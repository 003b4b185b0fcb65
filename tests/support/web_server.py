"""A real HTTP server on this machine that misbehaves as told: cuts connections, lies about lengths, answers 503."""

from __future__ import annotations

import email.utils
import http.server
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MEGABYTE = 1_000_000  # bytes


class Site:
    """What the server has, and what is wrong with it. ``requests`` counts per path; ``ranges`` are those asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_after: list[int] = []  # bytes after which the next answers are cut, one entry each
        self.refuse: list[int] = []  # status codes of the next answers, one entry each
        self.ranges_work = True
        self.validators = {"etag"}  # what the server says of a version: etag, weak, date, or nothing
        self.heeds_if_range = True
        self.changes: list[tuple[str, bytes]] = []  # path and new content, one entry taken after each answer
        self.seconds_per_megabyte = 0.0
        self.extra_length = 0  # bytes that Content-Length claims too much
        self.redirects: dict[str, str] = {}
        self.requests: Counter[str] = Counter()
        self.sent = 0
        self.url = ""


def _version(site: Site, content: bytes) -> dict[str, str]:
    """The headers that name a version of a file (RFC 9110, 8.8)."""
    number = zlib.crc32(content)
    found = {}
    if site.validators & {"etag", "weak"}:
        found["ETag"] = f'{"W/" if "weak" in site.validators else ""}"{number:08x}"'
    if "date" in site.validators:
        found["Last-Modified"] = email.utils.formatdate(number, usegmt=True)
    return found


def _handler(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            site.requests[self.path] += 1
            if site.refuse:
                return self._plain(site.refuse.pop(0))
            if self.path in site.redirects:
                return self._plain(302, site.redirects[self.path])
            if self.path not in site.files:
                return self._plain(404)
            return self._file(site.files[self.path])

        def _plain(self, status: int, location: str = "", beside: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (beside or {}).items():
                self.send_header(name, value)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _file(self, content: bytes) -> None:
            start = 0
            version = _version(site, content)
            asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
            same = condition is None or not site.heeds_if_range or condition in version.values()
            if asked and site.ranges_work and same:
                start = int(asked.removeprefix("bytes=").split("-")[0])
                if start >= len(content):
                    return self._plain(416, beside={"Content-Range": f"bytes */{len(content)}"})
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            for name, value in version.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) - start + site.extra_length))
            self.end_headers()
            body = content[start:]
            if site.cut_after:
                body = body[: site.cut_after.pop(0)]
                self.close_connection = True
            for at in range(0, len(body), MEGABYTE):
                self.wfile.write(body[at : at + MEGABYTE])
                time.sleep(site.seconds_per_megabyte)
            site.sent += len(body)
            if site.changes:
                path, new = site.changes.pop(0)
                site.files[path] = new
            if site.extra_length:
                self.close_connection = True
            return None

    return Handler


class QuietServer(http.server.ThreadingHTTPServer):
    """A client that hangs up is not worth a traceback."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def listening(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve requests by ``handler`` in a thread while the block runs; yields the server's address."""
    server = QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving() -> Iterator[Site]:
    """Serve a site while the block runs."""
    site = Site()
    with listening(_handler(site)) as url:
        site.url = url
        yield site
