"""What has been fetched to the models volume already: the base model, the wheels. Needs no Prefect."""

from __future__ import annotations

from typing import cast

from compute.base import Compute
from compute.records import read_json
from sft.store.contents import Base


def known_base_model(compute: Compute, folder: str) -> Base | None:
    """The record on the models volume if every file it names is there with its size, else None."""
    record = cast("Base | None", read_json(compute, "models", f"{folder}/record.json"))
    if record is None:
        return None
    sizes = {file.path.removeprefix(f"{folder}/"): file.size for file in compute.list("models", folder)}
    whole = all(sizes.get(name) == entry["size"] for name, entry in record["files"].items())
    return record if whole else None


def known_wheel(compute: Compute, path: str) -> bool:
    """Is the wheel on the volume, with its record and its size?"""
    record = read_json(compute, "models", f"{path}.json")
    if record is None:
        return False
    folder = path.rsplit("/", 1)[0]
    sizes = {file.path: file.size for file in compute.list("models", folder)}
    return path in sizes and sizes[path] == record.get("size")
