"""YAML profile → ``--set a.b=c`` overrides → model; every error at once, every resolved value with its source."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sft.config.model import RunConfig
from sft.errors import ConfigError, without_secrets

PROFILES = Path(__file__).resolve().parents[2] / "configs"


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


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``: sections are merged, other values replaced."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested dictionary."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def profiles() -> list[str]:
    """Names of the profiles in configs/."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def profile_path(profile: str) -> Path:
    """The file of a profile: a name in configs/, or a path that ends in .yaml or .yml.

    Raises:
        ConfigError: there is no such file.
    """
    is_path = profile.endswith((".yaml", ".yml"))
    path = Path(profile) if is_path else PROFILES / f"{profile}.yaml"
    if not path.is_file() or (not is_path and profile not in profiles()):
        near = difflib.get_close_matches(profile, profiles(), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            "unknown profile",
            value=profile,
            remedy=f"{hint}use one of {', '.join(profiles())}, or the path of a .yaml file",
        )
    return path


def read_profile(profile: str) -> dict[str, Any]:
    """The profile's values, not yet checked.

    Raises:
        ConfigError: no such profile, not YAML, or not a mapping.
    """
    path = profile_path(profile)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where else ""
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            f"the profile is not valid YAML: {reason}", where=f"{path}{line}", remedy="correct it"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError("a profile is a mapping of keys", where=str(path), value=type(values).__name__)
    return values


def read_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """``["a.b=c"]`` as nested values; each value is read as YAML (``null``, ``true``, ``3``, ``[a, b]``).

    Raises:
        ConfigError: one of them is not of the form key=value.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError("--set takes key=value", value=setting, remedy="write for example --set train.epochs=3")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return values


def load(profile: str, settings: Sequence[str] = ()) -> Resolved:
    """Read a profile, lay the overrides over it and check the result.

    Raises:
        ConfigError: with every problem found, each with its source, key, value and what is allowed.
    """
    path = profile_path(profile)
    below, above = read_profile(profile), read_overrides(settings)
    sources = {key: path.name for key, _ in leaves(below)} | {key: "--set" for key, _ in leaves(above)}
    try:
        config = RunConfig.model_validate(merge(below, above))
    except ValidationError as error:
        problems = _problems(error.errors(include_url=False), sources, path.name)
        text = "\n".join(f"  - {problem}" for problem in problems)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise ConfigError(
            f"{count} in the configuration {profile}:\n{text}\n", remedy="correct and run again"
        ) from None
    return Resolved(config, sources)


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
        if entry["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(path[-1]), _fields(path[:-1]), n=1)
            advice = f"did you mean {near[0]}?" if near else f"allowed here: {', '.join(_fields(path[:-1]))}"
            message = f"no such key; {advice}"
        messages = allowed.setdefault(place, [])
        messages.append(message if not messages else message.removeprefix("Input should be "))
        found[place] = "" if isinstance(entry["input"], dict) else f" (found {entry['input']!r})"
    return [f"{place}{' or '.join(messages)}{found[place]}" for place, messages in allowed.items()]


def _fields(path: Sequence[Any]) -> list[str]:
    """Names of the fields of the section at ``path``."""
    section: type[BaseModel] = RunConfig
    for part in path:
        annotation: Any = section.model_fields[part].annotation if part in section.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        section = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), section)
    return list(section.model_fields)
