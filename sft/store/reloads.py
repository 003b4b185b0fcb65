"""Writing to a volume that another thread may reload at that moment."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

EMPTY = 10.0  # seconds for which a volume may appear empty


def through_a_reload(act: Callable[[], None]) -> None:
    """Do what opens a file of a volume that may be reloaded right now by another thread.

    "While a reload is in progress the Volume will appear empty to the container" (modal.com/docs/guide/volumes).

    Raises:
        FileNotFoundError: its folder is not there after :data:`EMPTY` either.
    """
    missing = retry_if_exception_type(FileNotFoundError)
    Retrying(retry=missing, stop=stop_after_delay(EMPTY), wait=wait_fixed(0.1), reraise=True)(act)
