"""The run's configuration: the model (:mod:`sft.config.model`) and how it is read (:mod:`sft.config.load`)."""

from sft.config.load import Resolved, load, load_parameter
from sft.config.model import RunConfig

__all__ = ["Resolved", "RunConfig", "load", "load_parameter"]
