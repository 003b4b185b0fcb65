"""Job ``split_rows``: a file of rows on the data volume is split there, by document; no image is touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sft.context import Context
from sft.dataset.split import split
from sft.dataset.tasks import Prompt, known
from sft.errors import DatasetError
from sft.jobs.base import Job


class SplitArgs(BaseModel):
    """``file`` is on the data volume; the other values are those of :func:`sft.dataset.split.split`.

    ``dev_share`` 0: no dev set; ``prompts``: those that the user has declared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    share: float
    dev_share: float = 0.0
    seed: int = 0
    pattern: str = ""
    force: bool = False
    prompts: dict[str, Prompt] = Field(default_factory=dict)

    @field_validator("file")
    @classmethod
    def _inside(cls, given: str) -> str:
        if given.startswith("/") or ".." in PurePosixPath(given).parts:
            raise ValueError("a path below the data volume")
        return given


def split_rows(args: SplitArgs, context: Context) -> Mapping[str, object]:
    """Write FILE.train.jsonl, FILE.held_out.jsonl and, where asked for, FILE.dev.jsonl beside the file.

    Returns: ``{"files": file → task → rows, "notes": what the sets cannot give}``.
    Raises:
        DatasetError: there is no such file, or a row is broken; InputError: see :func:`sft.dataset.split.split`.
    """
    volume = context.volumes.data.resolve()
    source = volume / args.file
    if not source.is_file() or not source.resolve().is_relative_to(volume):
        remedy = "modal volume ls paddleocr-vl-data FOLDER lists what is there"
        raise DatasetError("no such file on the data volume", where=f"volume://{args.file}", remedy=remedy)
    name = source.name.partition(".jsonl")[0]
    train, held_out, dev = (source.with_name(f"{name}.{part}.jsonl") for part in ("train", "held_out", "dev"))
    chooses = dev if args.dev_share else None
    more = {"dev_share": args.dev_share} if args.dev_share else {}
    found = split(
        source,
        train,
        held_out,
        chooses,
        share=args.share,
        seed=args.seed,
        pattern=args.pattern,
        force=args.force,
        among=known(args.prompts),
        **more,
    )
    context.commit()
    every = ((train, found.train), (held_out, found.held_out), (dev, found.dev))
    files = {path.relative_to(volume).as_posix(): dict(counts) for path, counts in every if counts}
    return {"files": files, "notes": found.notes}


SPLIT_ROWS = Job("split_rows", SplitArgs, split_rows)
