"""YAML profile → ``--set a.b=c`` overrides → model; every error at once, every resolved value with its source."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sft.config.model import RunConfig, is_whole
from sft.config.profiles import layers, leaves, merge, profile_path
from sft.config.yaml import is_text, read_yaml, type_at
from sft.errors import ConfigError, check_all, without_secrets

# What pydantic says of a value that is of another kind than its field, in the words of YAML.
_KINDS = {
    "model_type": "it is a section: give its keys, such as {example}",
    "dict_type": "it is a mapping: {{KEY: VALUE}}",
    "tuple_type": "it is a list: [VALUE, …]",
}
EMPTY: tuple[Any, ...] = (None, "", (), {})


@dataclass(frozen=True)
class Resolved:
    """A configuration and where each of its values came from (dotted key → source)."""

    config: RunConfig
    sources: dict[str, str]

    def lines(self) -> list[tuple[str, str, str]]:
        """(dotted key, value, source) of every leaf, in the model's order."""
        shown = without_secrets
        return [
            (key, shown(str(value)), self.sources.get(key, "default"))
            for key, value in leaves(self.config.model_dump())
        ]


def read_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """``["a.b=c"]`` as nested values: a text where the field is one, else YAML (``null``, ``true``, ``3``, ``[a, b]``).

    Raises:
        ConfigError: some are not of the form key=value, or a key stands twice in a value.
    """
    read: list[dict[str, Any]] = []
    check_all(*(partial(lambda setting: read.append(_override(setting)), setting) for setting in settings))
    return reduce(merge, read, {})


def _override(setting: str) -> dict[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError("--set takes key=value", value=setting, remedy="write for example --set train.epochs=3")
    value = _given(setting, text, reduce(type_at, key.split("."), RunConfig))
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _given(setting: str, text: str, kind: Any) -> Any:
    """What is given to a field of type ``kind``; quotes are YAML's, also round a text."""
    if is_text(kind) and not (len(text) > 1 and text[0] == text[-1] and text[0] in "'\""):
        return text
    try:
        return read_yaml(text, kind)
    except yaml.constructor.ConstructorError as error:
        raise ConfigError(f"--set: {error.problem}", value=setting, remedy="correct it") from None
    except yaml.YAMLError:
        return text


def load(profile: str, settings: Sequence[str] = ()) -> Resolved:
    """Read a profile, lay the overrides over it and check the result.

    Raises:
        ConfigError: with every problem found, each with its source, key, value and what is allowed.
    """
    check_all(lambda: profile_path(profile), lambda: read_overrides(settings))  # also an empty profile is none
    read, above = layers(profile, RunConfig), read_overrides(settings)
    below: dict[str, Any] = reduce(merge, (values for _, values in read), {})
    named = [(key, file) for file, values in [*read, ("--set", above)] for key, _ in leaves(values)]
    sources = {**dict(named), "profile": "argument"}
    if "profile" in above:
        raise ConfigError("a command takes its profile as an argument, not by --set", value=str(above["profile"]))
    return Resolved(validated(merge(below, above) | {"profile": profile}, sources, profile, read[-1][0]), sources)


def load_parameter(given: dict[str, Any], profile: str = "") -> Resolved:
    """The configuration that a Prefect run's parameter means: what a form holds, or what differs from a profile.

    Args:
        given: the parameter ``config``, with or without ``profile``.
        profile: the profile where ``given`` names none.
    Raises:
        ConfigError: with every problem found, each with its key, value and what is allowed.
    """
    profile = str(given.get("profile") or profile)
    read = layers(profile, RunConfig)
    below: dict[str, Any] = reduce(merge, (values for _, values in read), {})
    sources = {key: file for file, values in read for key, _ in leaves(values)}
    without = dict(leaves(below))
    if is_whole(given) and profile:
        alone = validated(below, sources, profile, read[-1][0]).model_dump(mode="json")
        without, below = dict(leaves(alone)), _cleared(alone, RunConfig)
    differs = {key for key, value in leaves(given) if without.get(key, ...) != value}
    sources |= dict.fromkeys([*differs, "profile"], "parameter")
    name = f"of the run, over the profile {profile}" if profile else "of the run"
    return Resolved(validated(merge(below, given) | {"profile": profile}, sources, name, "parameter"), sources)


def _cleared(values: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """``values`` without those that a form leaves out when their field is cleared and that may be empty.

    A form sends a cleared field as one that is not there. It means no bound, no text, no section where there can be
    none; a field that needs a value keeps the profile's.
    """
    kept = {}
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            kept[name] = _cleared(values[name], section)
        elif field.get_default(call_default_factory=True) not in EMPTY:
            kept[name] = values[name]
    return kept


def validated(values: dict[str, Any], sources: dict[str, str], name: str, file: str) -> RunConfig:
    """A configuration of these values.

    Args:
        sources: key → where it comes from; ``file`` for the others. ``name`` is the configuration's.
    Raises:
        ConfigError: with every problem found.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problems = _problems(error.errors(include_url=False), sources, file) + _not_there(values, sources)
        text = "\n".join(f"  - {problem}" for problem in problems)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise ConfigError(f"{count} in the configuration {name}:\n{text}\n", remedy="correct and run again") from None


def _not_there(values: dict[str, Any], sources: dict[str, str]) -> list[str]:
    """The dataset's files that ``--set`` names and that do not exist: said with the other problems, not after them.

    What a profile names is not looked at here: most commands read no rows.
    """
    dataset = values.get("dataset")
    if not isinstance(dataset, dict) or dataset.get("digits") is not None or dataset.get("volume"):
        return []
    named = {key: dataset.get(key) for key in ("train", "held_out", "dev") if sources.get(f"dataset.{key}") == "--set"}
    return [
        f"--set: dataset.{key}: the dataset file does not exist (found {path!r})"
        for key, path in named.items()
        if isinstance(path, str) and path and "://" not in path and not os.path.exists(os.path.expanduser(path))
    ]


def _problems(entries: Sequence[Any], sources: dict[str, str], file: str) -> list[str]:
    """pydantic's errors as: source: key: what is allowed (found value); the branches of a union in one line."""
    allowed: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for entry in entries:
        path = [part for part in entry["loc"] if part not in ("int", "constrained-int")]
        path = [part for part in path if not (isinstance(part, str) and part.startswith(("function-", "literal[")))]
        key = ".".join(str(part) for part in path)
        source = sources.get(key) or next((s for k, s in sources.items() if k.startswith(f"{key}.")), file)
        place = f"{source}: {key + ': ' if key else ''}"
        message = str(entry["msg"]).removeprefix("Value error, ")
        if entry["type"] in _KINDS:
            message = _KINDS[entry["type"]].format(example=f"{key}.{_fields(path)[0]}")
        if entry["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(path[-1]), _fields(path[:-1]), n=1)
            advice = f"did you mean {near[0]}?" if near else f"allowed here: {', '.join(_fields(path[:-1]))}"
            message = f"no such key; {advice}"
        if entry["type"] == "string_pattern_mismatch":  # what is meant, before the rule as a pattern
            message = f"{_description(path)}: {message[0].lower()}{message[1:]}"
        messages = allowed.setdefault(place, [])
        messages.append(message if not messages else message.removeprefix("Input should be "))
        found[place] = "" if isinstance(entry["input"], dict) else f" (found {entry['input']!r})"
    return [f"{place}{' or '.join(messages)}{found[place]}" for place, messages in allowed.items()]


def _description(path: Sequence[Any]) -> str:
    """What the field at ``path`` is for; of a list or a mapping that of the whole."""
    names = [part for part in path if isinstance(part, str)]
    field = _section(names[:-1]).model_fields.get(names[-1]) if names else None
    return (field.description if field else None) or "a text"


def _fields(path: Sequence[Any]) -> list[str]:
    """Names of the fields of the section at ``path``."""
    return list(_section(path).model_fields)


def _section(path: Sequence[Any]) -> type[BaseModel]:
    section: type[BaseModel] = RunConfig
    for part in path:
        annotation: Any = section.model_fields[part].annotation if part in section.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        section = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), section)
    return section
