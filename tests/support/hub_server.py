"""A server that speaks the Hub's API for one model or dataset: metadata, HEAD and ranged GET of its files, and uploads.

A token that it does not know is refused with 401 and ``X-Error-Message: Invalid credentials in Authorization header``,
also for a public model, as the Hub does (huggingface_hub pull request #2847, and ``hf_raise_for_status`` there).
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.web_server import listening

COMMIT = "0123456789abcdef0123456789abcdef01234567"
INVALID = "Invalid credentials in Authorization header"
BIG = 1000  # bytes from which a file is stored as LFS


class Hub:
    """What it has. ``status`` refuses all; ``corrupt`` files differ from their hash; ``cut`` ends answers early.

    ``token`` is the only one that it knows; with it the model is private, or gated; without it public.
    """

    def __init__(self, repo: str, kind: str = "model") -> None:
        self.repo = repo
        self.kind = kind
        self.files: dict[str, bytes] = {}
        self.status = 0
        self.gated = False
        self.corrupt: set[str] = set()
        self.cut: dict[str, list[int]] = {}
        self.token = ""
        self.requests: Counter[str] = Counter()
        self.url = ""
        self.private: bool | None = None  # of a repository that was created by an upload
        self.objects: dict[str, bytes] = {}  # uploaded LFS objects by their sha256
        self.messages: list[str] = []
        self.refuse_objects = False

    def commit(self, lines: list[dict[str, Any]]) -> None:
        """Apply an upload's commit: whole small files, and LFS files whose object must have arrived before."""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.messages.append(value["summary"])
            elif line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.objects[value["oid"]]

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

        def do_PUT(self) -> None:
            content = self._content()
            oid = self.path.rpartition("/")[2]
            hub.requests[f"PUT {oid[:8]}"] += 1
            if hub.refuse_objects or hashlib.sha256(content).hexdigest() != oid:
                return self._error(400, "")
            hub.objects[oid] = content
            return self._json({})

        def do_POST(self) -> None:
            content = self._content()
            hub.requests[f"POST {self.path}"] += 1
            if self._stranger():
                return self._error(401, "", INVALID)
            if hub.token and "Authorization" not in self.headers:
                return self._error(401, "")
            if self.path == "/api/repos/create":
                asked = json.loads(content)
                hub.repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
                hub.private = asked.get("private", asked.get("visibility") == "private")
                return self._json({"url": f"{hub.url}/{hub.repo}"})
            if self.path == "/api/validate-yaml":
                return self._json({"errors": [], "warnings": []})
            if self.path == f"/api/models/{hub.repo}/preupload/main":
                files = json.loads(content)["files"]
                modes = [{"path": f["path"], "uploadMode": "lfs" if f["size"] >= BIG else "regular"} for f in files]
                return self._json({"files": [{**mode, "shouldIgnore": False, "oid": None} for mode in modes]})
            if self.path == f"/{hub.repo}.git/info/lfs/objects/batch":
                return self._json(
                    {"transfer": "basic", "objects": list(map(self._upload, json.loads(content)["objects"]))}
                )
            if self.path == f"/api/models/{hub.repo}/commit/main":
                hub.commit([json.loads(line) for line in content.splitlines() if line.strip()])
                return self._json({"commitUrl": f"{hub.url}/{hub.repo}/commit/{COMMIT}", "commitOid": COMMIT})
            return self._error(404, "RepoNotFound")

        def _content(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _upload(self, asked: dict[str, Any]) -> dict[str, Any]:
            entry = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] in hub.objects:
                return entry  # it is there: nothing to send
            return {**entry, "actions": {"upload": {"href": f"{hub.url}/objects/{asked['oid']}", "header": {}}}}

        def _answer(self, body: bool) -> None:
            path = self.path.split("?")[0]
            hub.requests[f"{self.command} {path}"] += 1
            if hub.status:
                return self._error(hub.status, "")
            if self._stranger():
                return self._error(401, "", INVALID)
            if hub.token and "Authorization" not in self.headers:
                return self._error(401, "GatedRepo" if hub.gated else "RepoNotFound")
            for prefix in (f"/api/{hub.kind}s/{hub.repo}/revision/", f"/api/{hub.kind}s/{hub.repo}/tree/"):
                if path.startswith(prefix):
                    revision = path.removeprefix(prefix)
                    if revision not in ("main", COMMIT):
                        return self._error(404, "RevisionNotFound")
                    if "tree" in prefix:
                        return self._json(
                            [{"type": "file", "path": n, "size": len(c), "oid": "0"} for n, c in hub.files.items()]
                        )
                    return self._json(hub.metadata())
            prefix = f"/{'datasets/' if hub.kind == 'dataset' else ''}{hub.repo}/resolve/{COMMIT}/"
            if path.startswith(prefix) and path.removeprefix(prefix) in hub.files:
                return self._file(path.removeprefix(prefix), body)
            return self._error(404, "RepoNotFound" if path.startswith("/api") else "EntryNotFound")

        def _stranger(self) -> bool:
            """Does the request bring a token that nobody knows?"""
            sent = self.headers.get("Authorization")
            return sent is not None and sent != f"Bearer {hub.token}"

        def _error(self, status: int, code: str, message: str = "") -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            if message:
                self.send_header("X-Error-Message", message)
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
def hub_of(repo: str, kind: str = "model") -> Iterator[Hub]:
    """Serve a hub with one model or dataset while the block runs."""
    hub = Hub(repo, kind)
    with listening(_handler(hub)) as url:
        hub.url = url
        yield hub
