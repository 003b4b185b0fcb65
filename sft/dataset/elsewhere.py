"""Addresses of datasets that lie elsewhere than on this machine, where they are validated: nothing comes through here.

``volume://FOLDER/FILE.jsonl`` is on the data volume, ``hf://OWNER/NAME@REVISION`` a dataset of the HF Hub,
``s3://``, ``gs://`` and ``r2://BUCKET/FOLDER/FILE.jsonl`` are in a bucket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from sft.addresses import scheme

Kind = Literal["volume", "hub", "bucket"]
_KINDS: dict[str, Kind] = {"volume": "volume", "hf": "hub", "s3": "bucket", "gs": "bucket", "r2": "bucket"}
_HUB = re.compile(r"hf://(?:datasets/)?([\w-][\w.-]*/[\w.-]+?)(?:@([\w./-]+))?", re.ASCII)
_FILE = re.compile(r"(?:volume|s3|gs|r2)://([^\s?#@\\]+)")
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


def problems(given: Mapping[str, str]) -> list[str]:
    """What is wrong with the addresses of a dataset: ``train``, ``held_out`` and, where there is one, ``dev``."""
    named = {key: address for key, address in given.items() if address}
    kind = kind_of(named.get("train", ""))
    if kind is None:
        others = [key for key, address in named.items() if kind_of(address)]
        return [f"dataset.{key} lies elsewhere than dataset.train: both need to be in one place" for key in others]
    if kind == "hub":
        found = (
            []
            if _HUB.fullmatch(named["train"])
            else ["dataset.train: a dataset of the Hub is hf://OWNER/NAME@REVISION"]
        )
        more = [key for key in named if key != "train"]
        return found + [
            f"dataset.{key}: leave it out, dataset.hub says which rows of the Hub's set it is" for key in more
        ]
    if "held_out" not in named:
        return ["dataset.held_out is missing: give the address of a JSONL file beside dataset.train"]
    found = [f"dataset.{key}: {said}" for key, address in named.items() if (said := _wrong(address))]
    first = {(scheme(address), address.partition("://")[2].partition("/")[0]) for address in named.values()}
    if not found and len(first) > 1:
        found = [
            "dataset.train, dataset.held_out and dataset.dev lie in different places: one bucket or folder has all"
        ]
    return found if found or len(set(named.values())) == len(named) else ["two of the dataset's files are one file"]


def _wrong(address: str) -> str:
    found = _FILE.fullmatch(address)
    parts = found[1].split("/") if found else []
    if len(parts) < 2 or not all(parts) or {".", ".."} & set(parts):
        return f"use {scheme(address) or 'volume'}://FOLDER/FILE.jsonl, without user, query and .."
    return "" if address.endswith(SUFFIXES) else "it names no .jsonl file"
