"""One file over HTTP: resumed after a cut, bounded, checked, and in place only when it is whole."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from sft.addresses import TOOLS
from sft.errors import InputError, IntegrityError, TransientError
from sft.store import records
from sft.store.sparing import Sparingly

CHUNK = 1 << 20  # bytes
ATTEMPTS = 8  # in a row without a byte gained
ROUNDS = 1000  # of attempts: each has gained something, or began anew
TIMEOUT = httpx.Timeout(30, read=60)  # seconds
MAX_REDIRECTS = 5
ADDRESS = "correct the address: https://HOST/PATH"
LARGE = "look whether it is the right file"
WAIT = wait_exponential_jitter(multiplier=0.5, max=30)  # seconds between two attempts

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
    attempts: int = ATTEMPTS,
) -> str:
    """Fetch ``url`` to ``target`` through ``target.part``, which a later call goes on from; returns the sha256 (hex).

    Args:
        max_bytes: a longer answer is refused.
        size: expected bytes; 0 where unknown.
        sha256: expected hash; empty where unknown.
        trusted: the user named this address; one that came with a dataset may not lead into a private network.
        attempts: in a row without a byte gained.
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
    retrying = Retrying(
        retry=retry_if_exception_type(TransientError), stop=stop_after_attempt(attempts), wait=WAIT, reraise=True
    )
    whole, rounds = False, 0
    while not whole:
        before, rounds = _size(part), rounds + 1
        if rounds > ROUNDS:
            raise TransientError("the file keeps changing while it is fetched", where=url, remedy="try again later")
        try:
            whole = retrying(_fetch, url, part, max_bytes, size, sha256, said)
        except TransientError:
            if _size(part) <= before:  # nothing has come, or it began anew
                raise
        except OSError as error:
            if error.filename is None:  # a write that the disk refuses does not say where
                error.filename = str(part)
            raise
    return _finish(url, part, target, size, sha256)


def check_scheme(url: str) -> None:
    """Raises InputError with what fetches it, if the address is none of http and https, or names no host."""
    try:
        address = urlsplit(url)
        scheme, host = address.scheme.lower(), address.hostname
    except ValueError as error:
        raise InputError(f"it is no address: {error}", where=url, remedy=ADDRESS) from error
    if scheme not in ("http", "https"):
        remedy = f"copy it here first ({TOOLS.get(scheme, 'with a tool that knows it')}), or give an https address"
        raise InputError("only http and https addresses are fetched", where=url, value=f"{scheme}://", remedy=remedy)
    if not host:
        raise InputError("the address names no host", where=url, remedy=ADDRESS)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@dataclass(frozen=True)
class _Kept:
    """What is known of the file of which a part lies here, written beside it before its first byte.

    ``validator`` is the answer's strong ETag, or its Last-Modified: what the server calls that version of the file.
    """

    url: str
    validator: str
    total: int

    @classmethod
    def beside(cls, part: Path) -> _Kept | None:
        said = records.read_json(_note(part))
        try:
            return cls(str(said["url"]), str(said["validator"]), int(said["total"])) if said else None
        except (KeyError, TypeError, ValueError):
            return None

    @classmethod
    def of(cls, url: str, answer: httpx.Response, total: int) -> _Kept:
        return cls(url, _validator(answer), total)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _validator(answer: httpx.Response) -> str:
    """Of a weak ETag the bytes may differ, so that it cannot join two halves (RFC 9110, 13.1.5)."""
    tag: str = answer.headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("last-modified", ""))


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _fetch(url: str, part: Path, max_bytes: int, size: int, sha256: str, said: Progress | None) -> bool:
    """One request, from where ``part`` ends. True: the server says that this is all. False: another is needed.

    A part is gone on from only where the end can prove that it was the same file all along: by its hash, or by the
    server's own word for that version (If-Range). Otherwise the file starts anew.
    """
    kept = _Kept.beside(part)
    if part.exists() and not sha256 and (kept is None or kept.url != url or not kept.validator):
        _drop(part)
        kept = None
    here = _size(part)
    if size and here == size:
        return True
    headers = {"Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
        if kept is not None and kept.url == url and kept.validator:
            headers["If-Range"] = kept.validator
    try:
        with httpx.Client(timeout=TIMEOUT) as client, closing(_open(client, url, headers)) as answer:
            if answer.status_code == 416:  # nothing behind what is here: all of it, or of a file that has shrunk
                if _total(answer, kept) == here:
                    return True
                _drop(part)
                return False
            _check(answer, url)
            if answer.status_code == 206 and not _goes_on(answer, here, kept):
                _drop(part)
                return False
            if answer.status_code != 206:  # it does not resume, or the file has changed
                here = 0
            total = here + int(answer.headers.get("content-length", 0))
            if max(total, size) > max_bytes:
                raise IntegrityError("the file is larger than allowed", where=url, value=f"{total} bytes", remedy=LARGE)
            if not here:
                records.write_json(_note(part), asdict(_Kept.of(url, answer, total)))
            _write(answer, part, here, total, max_bytes, said)
    except httpx.TransportError as error:
        remedy = "check the address and the connection, then run again"
        raise TransientError(
            f"the download was cut: {error or type(error).__name__}", where=url, remedy=remedy
        ) from error
    return True


_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")  # RFC 9110, 14.4


def _total(answer: httpx.Response, kept: _Kept | None) -> int:
    """How long the whole file is, by the answer or by what was kept; -1 where nobody says."""
    match = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if match and match[3] != "*":
        return int(match[3])
    return kept.total if kept is not None else -1


def _goes_on(answer: httpx.Response, here: int, kept: _Kept | None) -> bool:
    """Is what comes the rest of the file that the part is of?"""
    match = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if match is None or match[1] is None or int(match[1]) != here:
        return False
    if kept is None:
        return True  # the hash decides
    same_length = match[3] == "*" or not kept.total or int(match[3]) == kept.total
    now = _validator(answer)
    return same_length and (not now or not kept.validator or now == kept.validator)


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
    raise InputError("too many redirects", where=url, remedy="open the address in a browser, and give where it leads")


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
        remedy = "check the address, or fetch the file by other means and give its path"
        if answer.status_code in (401, 403):
            remedy = "it wants a login, or a signed address has expired: get the file with a browser, and give its path"
        raise InputError(f"the server answers {answer.status_code}", where=url, remedy=remedy)


def _write(answer: httpx.Response, part: Path, here: int, total: int, max_bytes: int, said: Progress | None) -> None:
    tell = Sparingly(lambda: said(here, total) if said is not None else None, share=0.5)
    with part.open("r+b" if here else "wb") as file:
        file.seek(here)
        for chunk in answer.iter_raw():  # as they come: a cut loses nothing that has arrived
            here += len(chunk)
            if here > max_bytes:
                raise IntegrityError(
                    "the file is larger than allowed", where=str(answer.url), value=f"> {max_bytes} bytes", remedy=LARGE
                )
            file.write(chunk)
            tell()
        file.flush()
        os.fsync(file.fileno())


def _finish(url: str, part: Path, target: Path, size: int, sha256: str) -> str:
    found_size, digest = _size(part), hashlib.sha256()
    with part.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    found = digest.hexdigest()
    if (size and found_size != size) or (sha256 and found != sha256.lower()):
        _drop(part)
        raise IntegrityError(
            "the downloaded file is not the expected one",
            where=url,
            value=f"{found_size} bytes, sha256 {found}",
            remedy=f"expected {size or 'any'} bytes, sha256 {sha256 or 'any'}: check the address, then run again",
        )
    part.rename(target)
    _note(part).unlink(missing_ok=True)
    records.sync_folder(target.parent)
    return found
