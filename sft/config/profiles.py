"""Profiles: YAML files in ``configs/``, or anywhere by their path; what is laid over what."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from sft.config.yaml import read_yaml
from sft.dataset.encodings import UnknownEncoding, decoded
from sft.errors import ConfigError

PROFILES = Path(__file__).resolve().parents[2] / "configs"


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
    is_path = profile.lower().endswith((".yaml", ".yml"))
    path = Path(os.path.expanduser(profile)) if is_path else PROFILES / f"{profile}.yaml"
    if not path.is_file() or (not is_path and profile not in profiles()):
        near = difflib.get_close_matches(Path(profile).stem, profiles(), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            "unknown profile",
            value=profile,
            remedy=f"{hint}use one of {', '.join(profiles())}, or the path of a .yaml file",
        )
    return path


def layers(profile: str, model: type[BaseModel]) -> list[tuple[str, dict[str, Any]]]:
    """(file name, values) of a profile and, below it, of the one that its key ``profile`` names; the lowest first.

    Args:
        model: what the values are for: a text field takes a plain scalar as it is written. They are not yet checked.
    Raises:
        ConfigError: no such profile, not YAML, a key stands twice, not a mapping, or one that names itself.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    paths: list[Path] = []
    while profile:
        path = profile_path(profile)
        if path in paths:
            raise ConfigError("the key profile leads back to the same file", where=str(path), remedy="remove one")
        paths.append(path)
        values = _read(path, model)
        profile = str(values.pop("profile", None) or "")
        found.insert(0, (path.name, values))
    return found


def _read(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    try:
        values = read_yaml(decoded(path.read_bytes()), model)
    except UnknownEncoding:
        remedy = "save it as UTF-8 (iconv -f ENCODING -t UTF-8 OLD > NEW)"
        raise ConfigError("the profile is not UTF-8", where=str(path), remedy=remedy) from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        remedy = "indent with blanks, not with tabs" if "'\\t'" in reason else "correct it"
        raise ConfigError(f"the profile is not valid YAML: {reason}", where=f"{path}{line}", remedy=remedy) from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else "a list" if isinstance(values, list) else f"the text {values!r}"
        remedy = "write for example: profile: smoke, and in the next line: name: mine"
        raise ConfigError("a profile is a mapping of keys to values", where=str(path), value=found, remedy=remedy)
    return values
