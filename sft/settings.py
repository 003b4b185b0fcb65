"""What all parts of a configuration have in common."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def of_the_user(path: str) -> str:
    """``~`` is the home folder: no shell has seen the value."""
    return os.path.expanduser(path)
