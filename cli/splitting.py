"""``sft split`` of a file on the data volume: a job does it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from cli.base import resolved
from sft.errors import InputError


def split_there(file: str, asked: dict[str, Any], profile: str, say: Callable[[str], None]) -> None:
    """Split it and tell how many rows went where.

    Args:
        file: on the data volume.
        asked: the other values of :class:`sft.jobs.split_rows.SplitArgs`.
    Raises:
        InputError: a value cannot be used.
        DatasetError: there is no such file, or a row is broken; nothing was written.
    """
    from compute.select import check_modal, compute_for
    from runs.waiting import follow
    from sft.jobs.split_rows import SplitArgs

    for option, given, least in (("--held-out", asked["share"], False), ("--dev", asked["dev_share"], True)):
        if not (0 < given < 1 or (least and given == 0)):
            raise InputError("the share lies between 0 and 1", where=option, value=str(given))
    config = resolved(profile, [])
    try:
        args = SplitArgs(file=file, prompts=config.dataset.prompts, **asked)
    except ValidationError as error:
        remedy = "name volume://FOLDER/FILE.jsonl"
        raise InputError("a file on the data volume is a path below it", value=file, remedy=remedy) from error
    if config.compute == "modal":
        check_modal()
    compute = compute_for(config)
    answer = follow(compute, compute.start("split_rows", args.model_dump()), lambda line: None)
    for name, counts in answer["files"].items():
        tasks = ", ".join(f"{task} {count}" for task, count in sorted(counts.items()))
        say(f"volume://{name}: {sum(counts.values())} rows ({tasks})")
    for note in answer["notes"]:
        say(f"note: {note}")
