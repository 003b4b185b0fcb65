"""Every error that the pipeline raises on purpose.

    SftError
    ├── InputError            wrong input: exit code 2, nothing was changed
    │   ├── ConfigError       a profile or an override
    │   └── DatasetError      a dataset file, a row or an image
    ├── JobError              a job failed: exit code 1
    │   ├── JobDied           its process ended without a result
    │   └── JobCancelled      it was cancelled on purpose
    └── TransientError        worth another try: the only type that retries ask for

The message comes first; the context is keyword-only and is kept when an error is pickled between processes.
"""

from __future__ import annotations

from collections.abc import Callable


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
        super().__init__(message)
        self.message = message
        self.where = where
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        found = f" (found {self.value})" if self.value else ""
        advice = f". Next: {self.remedy}" if self.remedy else ""
        return f"{place}{self.message}{found}{advice}"

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


class TransientError(SftError):
    """A fault that may pass by itself, so that another try is worthwhile."""
