"""Addresses of datasets that lie elsewhere than on this machine, where they are validated: nothing comes through here.

``volume://FOLDER/FILE.jsonl`` is on the data volume, ``hf://OWNER/NAME@REVISION`` a dataset of the HF Hub,
``s3://``, ``gs://`` and ``r2://BUCKET/FOLDER/FILE.jsonl`` are in a bucket. A single set of the Hub (dev, mixed in,
guard, rows that models are compared on) says which rows it is: ``hf://OWNER/NAME@REVISION?split=test&text=words&task=table``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import parse_qsl

from sft.addresses import scheme

Kind = Literal["volume", "hub", "bucket"]
_KINDS: dict[str, Kind] = {"volume": "volume", "hf": "hub", "s3": "bucket", "gs": "bucket", "r2": "bucket"}
_HUB = re.compile(r"hf://(?:datasets/)?([\w-][\w.-]*/[\w.-]+?)(?:@([\w./-]+))?", re.ASCII)
_FILE = re.compile(r"(?:volume|s3|gs|r2)://([^\s?#@\\]+)")
# What a single set of the Hub says of its rows → the field of sft.dataset.settings.HubConfig.
_ASKED = {"split": "train_split", "image": "image_column", "text": "text_column", "task": "task"}
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def kind_of(address: str) -> Kind | None:
    """What kind of place an address names; None of a path, and of any other address."""
    return _KINDS.get(scheme(address))


@dataclass(frozen=True)
class Placed:
    """Files in one tree: ``root`` is the folder above all, without the scheme; the files are relative to it."""

    scheme: str
    root: str
    train: str
    held_out: str
    dev: str = ""


def placed(train: str, held_out: str, dev: str = "") -> Placed:
    """The files of a dataset on the data volume or in a bucket, checked by :func:`problems` before."""
    paths = [PurePosixPath(address.partition("://")[2]) for address in (train, held_out, dev) if address]
    root = paths[0].parent
    while not all(path.is_relative_to(root) for path in paths):
        root = root.parent
    names = [path.relative_to(root).as_posix() for path in paths]
    return Placed(scheme(train), root.as_posix(), names[0], names[1], names[2] if dev else "")


def hub_of(address: str) -> tuple[str, str]:
    """(OWNER/NAME, revision) of a dataset of the Hub; ``main`` where none is named."""
    found = _HUB.fullmatch(address)
    assert found is not None, "validated"
    return found[1], found[2] or "main"


@dataclass(frozen=True)
class OneSet:
    """A single file of rows: ``file`` lies in ``root``; of the Hub ``root`` is OWNER/NAME, and ``hub`` says which rows
    (fields of :class:`sft.dataset.settings.HubConfig`).
    """

    scheme: str
    root: str
    file: str = ""
    revision: str = ""
    hub: tuple[tuple[str, str], ...] = ()


def one_set(address: str) -> OneSet:
    """The set that an address names, checked by :func:`wrong` before."""
    if kind_of(address) == "hub":
        repo, revision = hub_of(address.partition("?")[0])
        asked = tuple((_ASKED[key], value) for key, value in parse_qsl(address.partition("?")[2]))
        return OneSet("hf", repo, revision=revision, hub=asked)
    path = PurePosixPath(address.partition("://")[2])
    return OneSet(scheme(address), path.parent.as_posix(), path.name)


def wrong(address: str) -> str:
    """What is wrong with the address of a single set; empty for a path, and where nothing is."""
    kind = kind_of(address)
    if kind is None:
        return ""
    if kind != "hub":
        return _wrong(address)
    bare, _, query = address.partition("?")
    try:
        asked = [key for key, _ in parse_qsl(query, strict_parsing=True)] if query else []
    except ValueError:
        asked = [query]
    if _HUB.fullmatch(bare) and set(asked) <= _ASKED.keys() and len(set(asked)) == len(asked):
        return ""
    return f"a set of the Hub is hf://OWNER/NAME@REVISION?split=test, and may say {', '.join(_ASKED)}"


def together(train: str, other: str) -> bool:
    """Does another set lie in the place of the training set, so that both are brought at once?"""
    if kind_of(train) is None or kind_of(train) == "hub":
        return kind_of(train) == kind_of(other) is None
    places = [(scheme(one), one.partition("://")[2].partition("/")[0]) for one in (train, other)]
    return places[0] == places[1]


def problems(given: Mapping[str, str]) -> list[str]:
    """What is wrong with the addresses of a dataset: ``train``, ``held_out`` and, where there is one, ``dev``."""
    named = {key: address for key, address in given.items() if address}
    kind = kind_of(named.get("train", ""))
    found = [f"dataset.dev: {said}" for said in [wrong(named.get("dev", ""))] if said]
    if kind is None:
        if kind_of(named.get("held_out", "")):
            found.append("dataset.held_out lies elsewhere than dataset.train: both need to be in one place")
        return found
    if kind == "hub":
        if not _HUB.fullmatch(named["train"]):
            found.append("dataset.train: a dataset of the Hub is hf://OWNER/NAME@REVISION")
        if "held_out" in named:
            found.append("dataset.held_out: leave it out, dataset.hub says which rows of the Hub's set it is")
        return found
    if "held_out" not in named:
        return ["dataset.held_out is missing: give the address of a JSONL file beside dataset.train", *found]
    both = {key: named[key] for key in ("train", "held_out")}
    found += [f"dataset.{key}: {said}" for key, address in both.items() if (said := _wrong(address))]
    if not found and not together(both["train"], both["held_out"]):
        found = ["dataset.train and dataset.held_out lie in different places: one bucket or folder has both"]
    return found if found or len(set(named.values())) == len(named) else ["two of the dataset's files are one file"]


def _wrong(address: str) -> str:
    found = _FILE.fullmatch(address)
    parts = found[1].split("/") if found else []
    if len(parts) < 2 or not all(parts) or {".", ".."} & set(parts):
        return f"use {scheme(address) or 'volume'}://FOLDER/FILE.jsonl, without user, query and .."
    return "" if address.endswith(SUFFIXES) else "it names no .jsonl file"
