"""How often a container has died with an input: Modal gives it to the next one, for ever, and each is paid.

"If a container crashes after start-up (for example, due to an out of memory error), Modal will reschedule the container
and any work it was currently assigned" (modal.com/docs/guide/retries); ``retries=0`` does not change that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sft.errors import JobDied, TransientError
from sft.store.agreement import Entries

CRASHES = 3  # of one input


@contextmanager
def counted(entries: Entries, input_id: str) -> Iterator[None]:
    """Count while the block runs; whatever ends it is no crash, a preemption neither: the next container goes on.

    Raises:
        JobDied: so many containers have died with this input that the next one would, too.
    """
    key, crashes = f"input {input_id}", 0
    with suppress(TransientError):  # a count that cannot be kept keeps no job from its work
        crashes = int((entries.get(key) or {}).get("crashes", 0))
    if crashes >= CRASHES:
        remedy = "see the log of the call; raise modal.memory_mb, or lower the batch size; then run again"
        text = "its containers died again and again, as where memory runs out"
        raise JobDied(text, where=input_id, value=f"{crashes} times", remedy=remedy)
    with suppress(TransientError):
        entries.put(key, {"crashes": crashes + 1})
    try:
        yield
    finally:
        with suppress(TransientError):
            entries.put(key, {"crashes": crashes})
