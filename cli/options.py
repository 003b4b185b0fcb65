"""Options of commands as configuration: the same rules, the same errors."""

from __future__ import annotations

from pydantic import ValidationError

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
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(said, where="sft validate", remedy="sft validate --help") from None
