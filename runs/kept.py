"""Small files of the outputs volume that do not change once they are final: each is fetched once. Needs no Prefect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from compute.base import Compute
from compute.select import state_folder
from sft.store import records


def read_kept(
    compute: Compute, folder: str, names: Sequence[str], final: Callable[[dict[str, Any]], bool] = lambda content: True
) -> Iterator[dict[str, Any]]:
    """The content of JSON files, torn ones left out.

    Args:
        folder: of the outputs volume.
        final: will a file with this content never change? Then it is kept on this machine.
    """
    kept = state_folder() / folder / compute.name
    for name in names:
        content = records.read_json(kept / name) if compute.name != "local" else None
        if content is None:
            try:
                content = json.loads(compute.read("outputs", f"{folder}/{name}") or b"")
            except ValueError:
                continue  # the machine went down while it was written
            if compute.name != "local" and final(content):
                records.write_json(kept / name, content)
        yield content
