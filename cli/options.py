"""Options of commands as configuration: the same rules, the same errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from sft.dataset.rules import RULES
from sft.dataset.settings import DatasetConfig
from sft.dataset.tokens import Limits
from sft.errors import ConfigError


def as_profile(profile: str, own: DatasetConfig, room: int | None, folder: Path | None) -> tuple[DatasetConfig, Limits]:
    """How a file is checked: by a run's configuration, or without one.

    Args:
        profile: empty for none.
        own: what the options say, which goes before the profile's.
        room: tokens of the longest row, where an option says so.
        folder: of the base model, where an option names it.
    Raises:
        ConfigError: there is no such profile, or it is wrong.
    """
    if not profile:
        most = Limits.max_seq_len if room is None else room
        return own, Limits(most) if folder is None else Limits.of_model(folder, most)
    from runs.dataset import limits_of
    from sft.config import load

    config = load(profile, []).config
    changed = {"rules": {**config.dataset.rules, **own.rules}, **own.model_dump(include={"images", "workers", "shown"})}
    limits = limits_of(config, folder)
    return config.dataset.model_copy(update=changed), limits if room is None else replace(limits, max_seq_len=room)


def dataset_config(rules: list[str], images: str, workers: int, shown: int) -> DatasetConfig:
    """The dataset's part of a configuration.

    Raises:
        ConfigError: a value is out of bounds, or a rule does not exist.
    """
    pairs = [rule.partition("=")[::2] for rule in rules]
    values = {"rules": dict(pairs), "images": images, "workers": workers, "shown": shown}
    try:
        return DatasetConfig.model_validate(values)
    except ValidationError as error:
        options = {"rules": "--rule"}
        told = [
            (".".join(map(str, e["loc"])), str(e["msg"]).removeprefix("Value error, "))
            for e in error.errors(include_url=False)
        ]
        said = "; ".join(f"{options.get(key, '--' + key.replace('rules.', 'rule '))}: {text}" for key, text in told)
        remedy = f"the rules are {', '.join(RULES)}" if "--rule" in said else "sft validate --help has what is allowed"
        raise ConfigError(said, remedy=remedy) from None
