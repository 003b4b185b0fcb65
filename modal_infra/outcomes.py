"""Exceptions of ``FunctionCall.get``: did the call end with it, or did the look at the call fail?

The client raises what the container raised, as the same type: a refused commit in the container and a refused request
of this machine's cannot be told apart by type, nor a job's own TimeoutError from "it still runs".
"""

from __future__ import annotations

import traceback

from modal.exception import (
    DeserializationError,
    ExecutionError,
    FunctionTimeoutError,
    InputCancellation,
    InternalFailure,
    RemoteError,
)

from sft.errors import JobCancelled, JobDied, JobError, SftError, TransientError
from sft.foreign import as_ours

AGAIN = "run again: finished steps are kept, and a training resumes from its newest checkpoint"
DEPLOY = "sft deploy, if the image lacks something; then run again"
_RESULT = "_process_result"  # modal/_utils/function_utils.py, 1.6.4: all that a call has ended with is raised in it
_DOWNLOAD = "blob_download"  # … but for this: it fetches a large result, and may fail on its own


def is_the_calls(error: BaseException) -> bool:
    """Did the call end with ``error``?"""
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    if _RESULT not in names:
        return False
    return _DOWNLOAD not in names[names.index(_RESULT) + 1 :][:1]


def as_outcome(error: BaseException, call_id: str, hours: float) -> SftError:
    """What a call has ended with (see :func:`is_the_calls`) as one of ours, its text included.

    Args:
        hours: the call's time limit.
    Returns:
        JobCancelled; JobDied, after which a training resumes; TransientError, where another try may do; JobError for
        what is not ours: the container failed before our code (an import, a mount), or our code did not foresee it.
    """
    if isinstance(error, SftError):
        return error
    if isinstance(error, FunctionTimeoutError):
        return JobDied("the call reached its time limit", where=call_id, value=f"{hours} h", remedy=AGAIN)
    if isinstance(error, InputCancellation):
        return JobCancelled("the job was cancelled", where=call_id, remedy=AGAIN)
    if isinstance(error, (RemoteError, InternalFailure)):
        if "terminated" in str(error).lower() or "cancel" in str(error).lower():
            return JobCancelled("the job was cancelled", where=call_id, remedy=AGAIN)
        return JobDied(f"the container ended without a result: {error}", where=call_id, remedy=AGAIN)
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        text = f"the container was ended from outside: {type(error).__name__} {error}"
        return JobDied(text.rstrip(), where=call_id, remedy=AGAIN)
    text = _told(error)
    if isinstance(as_ours(error), TransientError) or _is_modals_own(error):
        return TransientError(f"the container met a fault that may pass: {text}", where=call_id, remedy=AGAIN)
    return JobError(f"the container ended with an error that is not ours: {text}", where=call_id, remedy=DEPLOY)


def _is_modals_own(error: BaseException) -> bool:
    """Did Modal refuse the container something (a commit, a request)? Not: a type or a result that cannot be read here;
    another try would be answered with the same.
    """
    unreadable = isinstance(error, (ExecutionError, DeserializationError))
    return type(error).__module__.startswith(("modal.", "grpclib.")) and not unreadable


def _told(error: BaseException) -> str:
    """Type and text in a line; of an exception whose class is not here, the last line of its traceback."""
    if isinstance(error, ExecutionError):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return (lines or ["no text"])[-1][:500]
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:500] if lines else 'no text'}"
