"""The same dataset with its images in shards."""

from __future__ import annotations

from pathlib import Path

from sft.jobs.bring_dataset import image_names
from sft.jobs.train import TrainArgs
from sft.store.shards.writing import pack, planned


def packed(args: TrainArgs, folder: Path) -> TrainArgs:
    """A training on the same rows, which lie in ``folder`` beside packed images."""
    plain = Path(args.dataset.root)
    files = (args.dataset.train, args.dataset.held_out)
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_bytes((plain / file).read_bytes())
    shards = planned((name, (plain / name).stat().st_size) for name in image_names(plain, files))
    list(pack(folder, shards, lambda wanted: {name: plain / name for name in wanted}))
    return args.model_copy(update={"dataset": args.dataset.model_copy(update={"root": str(folder)})})
