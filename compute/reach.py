"""The way to Modal: is there one, and what its client's exceptions mean."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from modal.config import config as settings
from modal.exception import (
    AuthError,
    ConnectionError,
    ExecutionError,
    InternalError,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ServiceError,
    VolumeUploadTimeoutError,
)

from compute import token
from sft.errors import ComputeError, TransientError
from sft.foreign import as_ours, proxy_package

ANSWERS = 5  # seconds that a server may take to answer
DEPLOY = "sft deploy"


@contextmanager
def translated(what: str, deploys: str = DEPLOY) -> Iterator[None]:
    """Modal's exceptions as ours, each with what to do next.

    Args:
        deploys: the command that deploys it.
    """
    try:
        yield
    except (AuthError, PermissionDeniedError) as error:
        raise ComputeError(f"Modal refuses the token: {error}", where=what, remedy="modal token new") from error
    except NotFoundError as error:
        raise ComputeError(f"not deployed: {error}", where=what, remedy=deploys) from error
    except ResourceExhaustedError as error:
        remedy = "wait for running calls to end, or raise the workspace's limit in Modal's settings"
        raise ComputeError(f"Modal's limit is reached: {error}", where=what, remedy=remedy) from error
    except (InvalidError, ExecutionError) as error:
        raise ComputeError(f"Modal refuses the request: {error}", where=what, remedy=DEPLOY) from error
    except (ConnectionError, ServiceError, InternalError, VolumeUploadTimeoutError, OSError) as error:
        told = as_ours(error) if isinstance(error, OSError) else None
        if told is not None and not isinstance(told, TransientError):
            raise told from error  # this machine's disk, not Modal
        remedy = "check the connection; a running job is not affected, and the next run attaches to it"
        raise TransientError(f"Modal cannot be reached: {error}", where=what, remedy=remedy) from error


def ready() -> None:
    """Make sure that there is a token and a way to Modal. The client by itself tries for a minute.

    Raises:
        ComputeError: there is no token.
        SftError: a proxy is set, and the package that talks to it is missing.
        TransientError: nobody answers there.
    """
    if token.in_container():  # the way goes through the machine that the container is on
        return
    if not (settings.get("token_id") and settings.get("token_secret")):
        raise token.missing()
    for url in str(settings.get("server_url")).split(","):
        server = urlsplit(url.strip())
        proxies = {} if settings.get("disable_api_proxy") or proxy_bypass(server.hostname or "") else getproxies()
        proxy = urlsplit(proxies.get(server.scheme) or proxies.get("all") or "")
        if proxy.hostname and importlib.util.find_spec("python_socks") is None:
            raise proxy_package()
        via = proxy if proxy.hostname else server
        host, port = via.hostname or "", via.port or {"https": 443, "http": 80}.get(via.scheme, 1080)
        try:
            socket.create_connection((host, port), timeout=ANSWERS).close()
            return
        except OSError as error:
            failed = TransientError(
                f"Modal cannot be reached{' by the proxy' if via is proxy else ''}: {error.strerror or error}",
                where=f"{host}:{port}",
                remedy="check the connection, the proxy (HTTPS_PROXY) or MODAL_SERVER_URL; what runs there runs on",
            )
    raise failed
