"""Options of commands as configuration: the same rules, the same errors."""

from __future__ import annotations

from pydantic import ValidationError

from sft.dataset.rules import RULES
from sft.dataset.settings import DatasetConfig
from sft.errors import ConfigError


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
