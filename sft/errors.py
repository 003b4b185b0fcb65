"""Every error that the pipeline raises on purpose.

    SftError
    ├── InputError            wrong input: exit code 2, nothing was changed
    │   ├── ConfigError       a profile or an override
    │   └── DatasetError      a dataset file, a row or an image
    ├── JobError              a job failed: exit code 1
    │   ├── JobDied           its process ended without a result
    │   ├── JobCancelled      it was cancelled on purpose
    │   ├── TrainingFailed    the trainer ended with an error
    │   ├── BudgetExceeded    the run would cost more than allowed; its job was stopped
    │   │   └── PatienceEnded no checkpoint of late was better; the training ends with what it has
    │   ├── Detached          nobody waits for the job any more; it runs on
    │   └── Unchanged         nothing is new since the last run, and the run was asked to do nothing then
    ├── IntegrityError        stored files are not what their record says
    ├── ComputeError          the place where jobs run refuses: no deployment, no token, an unknown call
    └── TransientError        worth another try: the only type that retries ask for
        └── LeaseHeld         another call holds the lease of the same training

The message comes first; the context is keyword-only and is kept when an error is pickled between processes. Between
machines errors travel as plain data (:func:`to_wire`, :func:`from_wire`), never pickled. No error shows a secret
(:func:`without_secrets`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

_ADDRESS = re.compile(r"(?<=://)(?:[^\s/?#]*@)?([^\s?#'\"<>|]*)(?:\?[^\s'\"<>]*)?")


_SECRETS = (
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "PREFECT_API_KEY"),
    *("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "WANDB_API_KEY", "SWANLAB_API_KEY"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)


def without_secrets(text: str) -> str:
    """The text as it may be shown: without the secrets of the environment, and its addresses without user and password
    and without the query, in which a signed address has its key.

    Example: ``https://me:pw@host/a.png?sig=x`` becomes ``https://host/a.png?…``.
    """
    for name in _SECRETS:
        value = os.environ.get(name, "")
        if len(value) >= 6:
            text = text.replace(value, "***")
    if "://" not in text:
        return text
    return _ADDRESS.sub(lambda found: found[1] + ("?…" if "?" in found[0] else ""), text)


def _rebuild(cls: type[SftError], message: str, context: dict[str, str]) -> SftError:
    return cls(message, **context)


class SftError(Exception):
    """Base of the tree.

    Args:
        message: the rule that was broken.
        where: the place, as ``file:line`` or a key.
        value: what was found there.
        remedy: what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str = "", value: str = "", remedy: str = "") -> None:
        message, where, value, remedy = map(without_secrets, (message, where, value, remedy))
        super().__init__(message)
        self.message = message
        self.where = where
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        found = f" (found {self.value})" if self.value else ""
        said = f"{place}{self.message}{found}"
        if not self.remedy:
            return said
        return f"{said}{'' if said.endswith(chr(10)) else '. '}Next: {self.remedy}"

    def __reduce__(self) -> tuple[Callable[..., SftError], tuple[type[SftError], str, dict[str, str]]]:
        context = {"where": self.where, "value": self.value, "remedy": self.remedy}
        return _rebuild, (type(self), self.message, context)


class InputError(SftError):
    """Wrong input; nothing was changed."""

    exit_code = 2


class ConfigError(InputError):
    """A profile or an override breaks a rule."""


class DatasetError(InputError):
    """A dataset file, a row or an image breaks a rule."""


class JobError(SftError):
    """A job failed."""


class JobDied(JobError):
    """A job's process ended without writing a result."""


class JobCancelled(JobError):
    """A job was cancelled on purpose."""


class TrainingFailed(JobError):
    """The trainer ended with an error."""


class BudgetExceeded(JobError):
    """The run reached a bound of the budget; its job was stopped with what it had saved."""


class PatienceEnded(BudgetExceeded):
    """No checkpoint of late was better than an earlier one; the training was stopped with what it had saved."""


class Detached(JobError):
    """The job runs on, and nobody waits for it: it was asked for. ``value`` is the call id."""


class Unchanged(JobError):
    """Nothing is new since the last run, and the run was asked to do nothing then."""


class IntegrityError(SftError):
    """Stored files are not what their record says."""


class ComputeError(SftError):
    """The place where jobs run refuses."""


class TransientError(SftError):
    """A fault that may pass by itself, so that another try is worthwhile."""


class LeaseHeld(TransientError):
    """Another call holds the lease of the same training; ``value`` is that call's id."""


def listed(problems: list[str], shown: int) -> str:
    """The first problems, a line each, and how many there are more; for the end of a message."""
    more = f"\n  and {len(problems) - shown} more" if len(problems) > shown else ""
    return "\n  " + "\n  ".join(problems[:shown]) + more + "\n"


def check_all(*checks: Callable[[], object]) -> None:
    """Make every check, so that all that is wrong with what was given is said at once.

    Raises:
        InputError: what a check found; where several found something, one error that lists them, a line each.
    """
    found: list[InputError] = []
    for check in checks:
        try:
            check()
        except InputError as error:
            several = error.__cause__  # a check may itself be made of checks
            found += several.found if isinstance(several, _Several) else [error]
    raise_all(found)


def raise_all(found: Sequence[InputError]) -> None:
    """Raises the only error, or one that lists all of them; nothing where there is none."""
    if len({str(error) for error in found}) == 1:
        raise found[0]
    if found:
        told = dict.fromkeys(str(error).strip().replace("\n", "\n    ") for error in found)
        lines = "".join(f"\n  - {text}" for text in told)
        kind = type(found[0]) if len({type(error) for error in found}) == 1 else InputError
        raise kind(f"{len(told)} problems:{lines}\n", remedy="correct them and run again") from _Several(found)


class _Several(Exception):
    """What an error of :func:`raise_all` lists."""

    def __init__(self, found: Sequence[InputError]) -> None:
        super().__init__(found)
        self.found = found


Wire = dict[str, str]


def _classes(root: type[SftError] = SftError) -> dict[str, type[SftError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_classes(child))
    return found


def to_wire(error: BaseException) -> Wire:
    """The error as plain data. One that is not ours becomes a JobError that names its type."""
    if isinstance(error, SftError):
        context = {"where": error.where, "value": error.value, "remedy": error.remedy}
        return {"type": type(error).__name__, "message": error.message, **context}
    remedy = "see the job's log for the traceback"
    return to_wire(JobError(f"{type(error).__name__}: {error}", remedy=remedy))


def from_wire(wire: Wire) -> SftError:
    """The error that :func:`to_wire` took apart; a type that this version does not know becomes a JobError."""
    cls = _classes().get(wire.get("type", ""), JobError)
    context = {key: wire.get(key, "") for key in ("where", "value", "remedy")}
    return cls(wire.get("message", "the job failed without a message"), **context)
