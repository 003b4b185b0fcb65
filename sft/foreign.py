"""Exceptions that are not ours, as one of ours: what happened, where, and what to do next.

For those that a person causes or can mend: files, disks, encodings, connections, proxies. What is left is a fault of
this program, and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl

from sft.errors import InputError, SftError, TransientError

# errno → (what it means, what to do, is it the input)
_FILES: dict[int, tuple[str, str, bool]] = {
    errno.ENOSPC: ("the disk is full", "make room there (df -h), then run again", False),
    errno.EDQUOT: ("the quota of the disk is used up", "make room there (quota -s), then run again", False),
    errno.EFBIG: ("the file may not become so large", "raise the bound (ulimit -f), or write to another disk", False),
    errno.ENOENT: ("no such file or folder", "correct the path", True),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another place", True),
    errno.EISDIR: ("it is a folder, not a file", "name a file", True),
    errno.EEXIST: ("something of that name is there already", "choose another name or place", True),
    errno.EACCES: ("permission denied", "look who may read and write there (ls -ld)", True),
    errno.EPERM: ("not permitted", "look who may read and write there (ls -ld)", True),
    errno.EROFS: ("the disk is read-only", "choose another place", True),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one", True),
    errno.ELOOP: ("links lead in a circle", "correct the link", True),
    errno.EMFILE: ("too many files are open", "raise the bound (ulimit -n), then run again", False),
    errno.ENFILE: ("too many files are open on this machine", "end other programs, then run again", False),
    errno.ENOMEM: ("the memory is used up", "end other programs, or use fewer workers", False),
    errno.EIO: (
        "the disk cannot be read or written",
        "look at the system's log (dmesg); copy the file elsewhere",
        False,
    ),
    errno.ESTALE: ("the network drive has lost the file", "mount it again, then run again", False),
    errno.EADDRINUSE: ("the port is in use", "choose another one", True),
}
_NETWORK = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL)
_PROXY_PACKAGES = ("python-socks", "aiohttp-socks", "socksio")
PROXY = (
    "install what it needs: .venv/bin/python -m pip install 'modal[api-proxy-support]' 'httpx[socks]'; where there "
    "is a direct way, set NO_PROXY for the host (for Modal also MODAL_DISABLE_API_PROXY=1)"
)


def as_ours(error: BaseException) -> SftError | None:
    """The error as one of ours, with the foreign one as its cause; None for what nobody foresaw."""
    found = _as_ours(error)
    if found is not None and found is not error:
        found.__cause__ = error
    return found


def _as_ours(error: BaseException) -> SftError | None:
    if isinstance(error, SftError):
        return error
    if isinstance(error, ImportError):
        return _proxy(str(error))
    if isinstance(error, UnicodeError):
        return _encoding(error)
    if isinstance(error, OSError):
        return _file(error)
    if isinstance(error, MemoryError):
        return SftError("the memory is used up", remedy="end other programs, or use fewer workers")
    return _connection(error)


def _proxy(text: str) -> SftError | None:
    return proxy_package() if any(package in text for package in _PROXY_PACKAGES) else None


def proxy_package() -> SftError:
    """There is a proxy, and not what talks to it. Its address is not shown: it may hold a password."""
    names = [name for name in os.environ if name.upper() in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")]
    return SftError(
        "the proxy in the environment needs a package that is missing", where=", ".join(names), remedy=PROXY
    )


def _encoding(error: UnicodeError) -> SftError:
    if isinstance(error, UnicodeDecodeError):
        place = f"byte {error.object[error.start : error.start + 1].hex()} at {error.start}"
        remedy = "convert it, for example: iconv -f GBK -t UTF-8 OLD > NEW"
        return InputError(f"the text is not {error.encoding.upper()}", value=place, remedy=remedy)
    if isinstance(error, UnicodeEncodeError):
        found = ascii(error.object[error.start : error.start + 1])
        remedy = "set LC_ALL=C.UTF-8 for the terminal; rename a file whose name is not UTF-8"
        return InputError(f"a character cannot be written as {error.encoding}", value=found, remedy=remedy)
    return InputError(f"a name cannot be used: {error}", remedy="correct it")


def _file(error: OSError) -> SftError | None:
    where = " → ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)) or error.errno in _NETWORK:
        remedy = "check the connection, then run again"
        return TransientError(f"the connection failed: {error.strerror or error}", where=where, remedy=remedy)
    said, remedy, of_input = _FILES.get(
        error.errno or 0, (str(error.strerror or error), "correct it, then run again", False)
    )
    if not where and error.strerror and error.strerror != os.strerror(error.errno or 0):
        said = error.strerror  # Python's own words: there is no system call behind it
    return (InputError if of_input else SftError)(said, where=where, remedy=remedy)


def _connection(error: BaseException) -> SftError | None:
    """What httpx, Prefect's client and Modal's raise, known by the names of their modules: none is imported for it."""
    module, text = type(error).__module__.partition(".")[0], f"{type(error).__name__}: {error}"
    if module == "prefect" or "Failed to reach API" in text:
        return SftError(f"Prefect's API does not do what was asked: {_first_line(text)}", remedy=PREFECT)
    if module in ("httpx", "httpcore", "aiohttp", "grpclib"):
        return TransientError(f"the connection failed: {_first_line(text)}", remedy="check it, then run again")
    if module == "modal":
        return SftError(f"Modal: {_first_line(text)}", remedy="sft doctor PROFILE says what is missing")
    return None


PREFECT = (
    "look whether that server runs (prefect server start), or do without one: prefect config unset PREFECT_API_URL, "
    "and unset PREFECT_API_URL in the shell"
)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300]
