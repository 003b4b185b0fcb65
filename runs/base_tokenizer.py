"""The base model's tokenizer and image bounds on this machine, before the model itself is needed: validation counts
with them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from compute.base import Compute
from compute.select import state_folder
from sft.config import RunConfig
from sft.errors import SftError
from sft.plan import download_args
from sft.processes import alone_at
from sft.store import records

FILES = ["tokenizer.json", "preprocessor_config.json"]  # 11 MB for PaddleOCR-VL


def base_tokenizer(config: RunConfig, compute: Compute, say: Callable[[str], None]) -> Path | None:
    """A folder with :data:`FILES` of the base model, fetched once: from the models volume, else from the Hub.

    None where neither can be reached, which is said: rows are then counted by their bytes, which are never fewer than
    tokens.
    """
    args = download_args(config)
    folder = state_folder() / "volumes" / "models" / args.folder
    if records.read_record(folder) is not None:
        return folder
    folder = state_folder() / "tokenizers" / args.folder
    with alone_at(folder):
        if folder.exists():
            return folder
        arriving = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(arriving, ignore_errors=True)
        arriving.mkdir()
        try:
            _fetch(config, compute, arriving)
        except SftError as error:
            say(f"the base model's tokenizer cannot be fetched, rows are counted by their bytes: {error.message}")
            return None
        arriving.rename(folder)
    return folder


def _fetch(config: RunConfig, compute: Compute, folder: Path) -> None:
    args = download_args(config)
    if args.source == "tiny":
        from sft.smoke import tiny

        tiny.write_model_files(folder)
        return
    for name in FILES if compute.name != "local" else []:
        content = compute.read("models", f"{args.folder}/{name}")
        if content is not None:
            (folder / name).write_bytes(content)
    if not all((folder / name).exists() for name in FILES):
        from sft.models.hub import fetch_snapshot

        fetch_snapshot(args.repo, args.revision, folder, FILES)
