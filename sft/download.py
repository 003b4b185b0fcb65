"""One file over HTTP: resumed after a cut, bounded, checked, and in place only when it is whole."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from sft import records
from sft.errors import InputError, IntegrityError, TransientError

CHUNK = 1 << 20  # bytes
ATTEMPTS = 8  # in a row without a byte gained
TIMEOUT = httpx.Timeout(30, read=60)  # seconds
MAX_REDIRECTS = 5
WAIT = wait_exponential_jitter(multiplier=0.5, max=30)  # seconds between two attempts

# What copies files from other addresses than http's.
TOOLS = {
    "s3": "aws s3 cp --recursive",
    "gs": "gcloud storage cp -r",
    "az": "azcopy copy",
    "abfs": "azcopy copy",
    "hf": "hf download",
    "oss": "ossutil cp -r",
    "ftp": "wget -r",
    "file": "give the path itself",
}

Progress = Callable[[int, int], None]  # bytes here, bytes in all (0: unknown)


def download(
    url: str,
    target: Path,
    *,
    max_bytes: int,
    size: int = 0,
    sha256: str = "",
    said: Progress | None = None,
    trusted: bool = True,
) -> str:
    """Fetch ``url`` to ``target`` through ``target.part``, which a later call goes on from; returns the sha256 (hex).

    Args:
        max_bytes: a longer answer is refused.
        size: expected bytes; 0 where unknown.
        sha256: expected hash; empty where unknown.
        trusted: the user named this address; one that came with a dataset may not lead into a private network.
    Raises:
        InputError: the address does not exist (404, …), or leads to a private network.
        IntegrityError: size or hash are not the expected ones; the partial file is removed.
        TransientError: the server could not be reached, or cut the connection, again and again.
    """
    check_scheme(url)
    if not trusted and is_private(url):
        raise InputError("the address leads into a private network", where=url, remedy="use a public address")
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    attempts = Retrying(
        retry=retry_if_exception_type(TransientError), stop=stop_after_attempt(ATTEMPTS), wait=WAIT, reraise=True
    )
    whole = False
    while not whole:
        before = _size(part)
        try:
            whole = attempts(_fetch, url, part, max_bytes, size, said)
        except TransientError:
            if _size(part) <= before:
                raise
        except OSError as error:
            if error.filename is None:  # a write that the disk refuses does not say where
                error.filename = str(part)
            raise
    return _finish(url, part, target, size, sha256)


def check_scheme(url: str) -> None:
    """Raises InputError with what fetches it, if the address is none of http and https."""
    scheme = urlsplit(url).scheme.lower()
    if scheme not in ("http", "https"):
        remedy = f"copy it here first ({TOOLS.get(scheme, 'with a tool that knows it')}), or give an https address"
        raise InputError("only http and https addresses are fetched", where=url, value=f"{scheme}://", remedy=remedy)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(url: str, part: Path, max_bytes: int, size: int, said: Progress | None) -> bool:
    """One request, from where ``part`` ends. True: the server says that this is all."""
    here = _size(part)
    if size and here == size:
        return True
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={here}-"} if here else {})}
    try:
        with httpx.Client(timeout=TIMEOUT) as client, closing(_open(client, url, headers)) as answer:
            if answer.status_code == 416:  # nothing behind what is here
                return True
            _check(answer, url)
            if answer.status_code != 206:  # the server does not resume
                here = 0
            total = here + int(answer.headers.get("content-length", 0))
            if max(total, size) > max_bytes:
                raise IntegrityError("the file is larger than allowed", where=url, value=f"{total} bytes")
            _write(answer, part, here, total, max_bytes, said)
    except httpx.TransportError as error:
        raise TransientError(f"the download was cut: {error or type(error).__name__}", where=url) from error
    return True


def _open(client: httpx.Client, url: str, headers: dict[str, str]) -> httpx.Response:
    """The answer behind at most five redirects, none of which may lead from the public into a private network."""
    start_private = is_private(url)
    for _ in range(MAX_REDIRECTS + 1):
        answer = client.send(client.build_request("GET", url, headers=headers), stream=True)
        if not start_private and _came_from_inside(answer):
            answer.close()
            raise InputError("the host's name led into a private network", where=url, remedy="use another address")
        if not answer.has_redirect_location:
            return answer
        answer.close()
        url = str(answer.url.join(answer.headers["location"]))
        if is_private(url) and not start_private:
            raise InputError("the address leads into a private network", where=url, remedy="use another address")
    raise InputError("too many redirects", where=url)


def _came_from_inside(answer: httpx.Response) -> bool:
    """Did the connection end at a private number? A name may lead elsewhere between the look-up and the connection."""
    if getproxies():
        return False  # the other end is the proxy, which looks names up by itself
    stream = answer.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    return peer is not None and not ipaddress.ip_address(str(peer[0]).split("%")[0]).is_global


def is_private(url: str) -> bool:
    """Does the host's name or number belong to this machine, a local network, or the cloud's metadata service?"""
    host = urlsplit(url).hostname or ""
    try:
        numbers = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False  # it will not be reached either
    return any(not ipaddress.ip_address(number.split("%")[0]).is_global for number in numbers)


def _check(answer: httpx.Response, url: str) -> None:
    if answer.status_code in (408, 429) or answer.status_code >= 500:
        raise TransientError(f"the server answers {answer.status_code}", where=url, remedy="try again later")
    if answer.status_code >= 400:
        remedy = "check the address in the configuration, or upload the file yourself"
        raise InputError(f"the server answers {answer.status_code}", where=url, remedy=remedy)


def _write(answer: httpx.Response, part: Path, here: int, total: int, max_bytes: int, said: Progress | None) -> None:
    spoken = 0.0
    with part.open("r+b" if here else "wb") as file:
        file.seek(here)
        for chunk in answer.iter_raw():  # as they come: a cut loses nothing that has arrived
            here += len(chunk)
            if here > max_bytes:
                raise IntegrityError(
                    "the file is larger than allowed", where=str(answer.url), value=f"> {max_bytes} bytes"
                )
            file.write(chunk)
            if said is not None and time.monotonic() - spoken > 1:
                spoken = time.monotonic()
                said(here, total)
        file.flush()
        os.fsync(file.fileno())


def _finish(url: str, part: Path, target: Path, size: int, sha256: str) -> str:
    found_size, digest = _size(part), hashlib.sha256()
    with part.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    found = digest.hexdigest()
    if (size and found_size != size) or (sha256 and found != sha256.lower()):
        part.unlink()
        raise IntegrityError(
            "the downloaded file is not the expected one",
            where=url,
            value=f"{found_size} bytes, sha256 {found}",
            remedy=f"expected {size or 'any'} bytes, sha256 {sha256 or 'any'}: check the address, then run again",
        )
    part.rename(target)
    records.sync_folder(target.parent)
    return found
