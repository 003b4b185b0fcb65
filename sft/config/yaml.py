"""YAML as people mean it: the scalars of YAML 1.2's core schema, texts by the field's type, no key twice.

PyYAML reads YAML 1.1, where ``on``, ``off``, ``yes``, ``no`` are booleans, ``1:30`` is 90, ``5e-6`` is a text and the
second of two equal keys wins without a word. Source of the schema: YAML 1.2.2, section 10.3.2, "Tag Resolution".
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from yaml.constructor import ConstructorError

_DIGITS = [*"-+0123456789"]
_CORE = (  # tag, pattern, first characters; in this order, as what is an integer is also a float
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _DIGITS),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", [*_DIGITS, "."]),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", ["-", "+", "."]),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", ["<"]),  # not of the core schema, but much used with anchors
)
_BASES = {"0o": 8, "0x": 16}


@dataclass(frozen=True)
class Plain:
    """A scalar without quotes that is a number or a boolean, and how it was written: a text field takes that."""

    text: str
    value: bool | int | float


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema's scalars; numbers and booleans as :class:`Plain`, keys as texts."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (none of the 1.1 ones)

    def plain(self, node: yaml.ScalarNode) -> Plain:
        """A number or a boolean."""
        text = str(self.construct_scalar(node))
        try:
            return Plain(text, _number(text))
        except ValueError:
            reason = f"{text!r} is not of the type {node.tag.rpartition(':')[2]}"
            raise ConstructorError(None, None, reason, node.start_mark) from None

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        """A mapping; keys are texts as they are written.

        Raises:
            ConstructorError: a key stands twice, or is no text.
        """
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConstructorError(None, None, "a key is a text, not a list or a mapping", key.start_mark)
            if key.value in lines:
                reason = f"the key {key.value!r} stands twice, in the lines {lines[key.value]} and {line}"
                raise ConstructorError(None, None, reason, key.start_mark)
            lines[key.value] = line
        self.flatten_mapping(node)  # <<: *anchor
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}


def _number(text: str) -> bool | int | float:
    if text[:2] in _BASES:
        return int(text[2:], _BASES[text[:2]])
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    return float(re.sub(r"\.(inf|nan)$", r"\1", text.lower()))


for _name, _pattern, _first in _CORE:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)
for _name in ("bool", "int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _Loader.plain)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.mapping)


def read_yaml(text: str, kind: Any) -> Any:
    """The values in ``text``, plain scalars by the type that they are for.

    Args:
        kind: the type, such as a pydantic model: where it wants a text, ``0005747``, ``1e5`` and ``true`` are texts.
    Raises:
        yaml.YAMLError: not YAML, or a key stands twice.
    """
    loader = _Loader(text)
    try:
        return _typed(loader.get_single_data(), kind)
    finally:
        loader.dispose()


def _typed(value: Any, kind: Any) -> Any:
    if isinstance(value, Plain):
        return value.text if is_text(kind) else value.value
    if isinstance(value, dict):
        return {key: _typed(under, type_at(kind, key)) for key, under in value.items()}
    if isinstance(value, list):
        return [_typed(item, next(iter(_options(kind, tuple)), (Any,))[0]) for item in value]
    return value


def is_text(kind: Any) -> bool:
    """Is a text wanted, and nothing that is written without quotes like a number or a boolean?"""
    options = [option for option in _alternatives(kind) if option is not type(None)]
    texts = [o is str or (get_origin(o) is Literal and all(isinstance(v, str) for v in get_args(o))) for o in options]
    return bool(texts) and all(texts)


def type_at(kind: Any, key: str) -> Any:
    """The type of what a model or a mapping of type ``kind`` has at ``key``; Any where that is not known."""
    for option in _alternatives(kind):
        if isinstance(option, type) and issubclass(option, BaseModel) and key in option.model_fields:
            return option.model_fields[key].annotation
    return next(iter(_options(kind, dict)), (Any, Any))[1]


def _alternatives(kind: Any) -> list[Any]:
    """The types of a union, without annotations."""
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [option for part in get_args(kind) for option in _alternatives(part)]
    return [kind]


def _options(kind: Any, container: type) -> Iterator[tuple[Any, ...]]:
    """The arguments of a union's types that are such a container."""
    return (get_args(option) for option in _alternatives(kind) if get_origin(option) is container)
