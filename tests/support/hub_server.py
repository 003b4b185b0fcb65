"""A server that speaks the Hub's API for one model: metadata, HEAD and ranged GET of its files."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.web_server import QuietServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BIG = 1000  # bytes from which a file is stored as LFS


class Hub:
    """What it has. ``status`` refuses all; ``corrupt`` files differ from their hash; ``cut`` ends answers early."""

    def __init__(self, repo: str) -> None:
        self.repo = repo
        self.files: dict[str, bytes] = {}
        self.status = 0
        self.gated = False
        self.corrupt: set[str] = set()
        self.cut: dict[str, list[int]] = {}
        self.token = ""
        self.requests: Counter[str] = Counter()
        self.url = ""

    def metadata(self) -> dict[str, Any]:
        """The answer to a question for the model, with blob ids and LFS hashes."""
        siblings = []
        for name, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
            if len(content) >= BIG:
                sha = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": sha, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        return {"id": self.repo, "modelId": self.repo, "sha": COMMIT, "private": False, "siblings": siblings}


def _handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = self.path.split("?")[0]
            hub.requests[f"{self.command} {path}"] += 1
            if hub.status:
                return self._error(hub.status, "")
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self._error(403 if hub.gated else 401, "GatedRepo" if hub.gated else "RepoNotFound")
            for prefix in (f"/api/models/{hub.repo}/revision/", f"/api/models/{hub.repo}/tree/"):
                if path.startswith(prefix):
                    revision = path.removeprefix(prefix)
                    if revision not in ("main", COMMIT):
                        return self._error(404, "RevisionNotFound")
                    if "tree" in prefix:
                        return self._json(
                            [{"type": "file", "path": n, "size": len(c), "oid": "0"} for n, c in hub.files.items()]
                        )
                    return self._json(hub.metadata())
            prefix = f"/{hub.repo}/resolve/{COMMIT}/"
            if path.startswith(prefix) and path.removeprefix(prefix) in hub.files:
                return self._file(path.removeprefix(prefix), body)
            return self._error(404, "RepoNotFound" if path.startswith("/api") else "EntryNotFound")

        def _error(self, status: int, code: str) -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _json(self, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _file(self, name: str, body: bool) -> None:
            content = hub.files[name]
            etag = hashlib.sha256(content).hexdigest()
            if name in hub.corrupt:
                content = b"x" * len(content)
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if not body:
                return
            rest = content[start:]
            if hub.cut.get(name):
                rest = rest[: hub.cut[name].pop(0)]
                self.close_connection = True
            self.wfile.write(rest)

    return Handler


@contextmanager
def hub_of(repo: str) -> Iterator[Hub]:
    """Serve a hub with one model while the block runs."""
    hub = Hub(repo)
    server = QuietServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
