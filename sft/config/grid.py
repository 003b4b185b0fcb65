"""The points of a sweep: a configuration in which hyperparameters take each of several values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sft.config.load import read_overrides, validated
from sft.config.model import RunConfig
from sft.config.profiles import merge
from sft.config.train import TrainConfig
from sft.errors import ConfigError, InputError, check_all

PART = "train."
# Of its fields those that change no result: trials that differ in them alone would be one.
SAME = ("save_steps", "save_total_limit", "logging_steps", "stall_minutes", "dropped_rows", "restarts", "resume")
MOST = 64  # trials of a sweep
_COMMA = re.compile(r",(?![^\[{]*[\]}])")  # not between brackets


@dataclass(frozen=True)
class Trial:
    """One point: what it is called (its values), and its configuration."""

    label: str
    config: RunConfig


def trials(config: RunConfig, grid: Sequence[str]) -> list[Trial]:
    """Every combination of the values, in their order.

    Args:
        grid: ``train.learning_rate=1e-6,5e-6`` for each hyperparameter; commas in brackets part no values.
    Raises:
        InputError: a key is no hyperparameter, a value not allowed, or there is nothing to compare: all of it at once.
    """
    check_all(*(partial(_check, axis) for axis in grid), lambda: _check_keys(grid))
    found = [list(point) for point in itertools.product(*map(_values, grid))]
    if not 2 <= len(found) <= MOST:
        remedy = "give --grid KEY=VALUE,VALUE" if len(found) < 2 else "leave values out"
        said = f"a sweep compares 2 to {MOST} trials"
        raise InputError(said, where="--grid", value=f"{len(found)}", remedy=remedy)
    made: list[Trial] = []
    check_all(*(partial(lambda point: made.append(Trial(_label(point), varied(config, point))), p) for p in found))
    return made


def varied(config: RunConfig, settings: Sequence[str]) -> RunConfig:
    """The configuration with other values.

    Raises:
        ConfigError: they are not allowed.
    """
    above = read_overrides(settings)
    sources = {setting.partition("=")[0]: "--grid" for setting in settings}
    return validated(merge(config.model_dump(mode="json"), above), sources, config.profile or "of the sweep", "--grid")


def _check(axis: str) -> None:
    key, equals, text = axis.partition("=")
    if not equals or not text:
        raise ConfigError("--grid takes KEY=VALUE,VALUE", value=axis, remedy="--grid train.learning_rate=1e-6,5e-6")
    name = key.removeprefix(PART).partition(".")[0]
    if not key.startswith(PART) or name not in TrainConfig.model_fields or name in SAME:
        allowed = ", ".join(PART + field for field in TrainConfig.model_fields if field not in SAME)
        raise ConfigError("a sweep varies hyperparameters", where="--grid", value=key, remedy=f"use {allowed}")


def _check_keys(grid: Sequence[str]) -> None:
    keys = [axis.partition("=")[0] for axis in grid]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        remedy = "give all its values at once"
        raise ConfigError("a key stands twice", where="--grid", value=", ".join(twice), remedy=remedy)


def _values(axis: str) -> list[str]:
    key, _, text = axis.partition("=")
    return [f"{key}={value.strip()}" for value in dict.fromkeys(_COMMA.split(text))]


def _label(point: Sequence[str]) -> str:
    return " ".join(setting.removeprefix(PART) for setting in point)
