"""What a hosted run needs of this machine: rows and guard sets, validated here and sent to the data volume.

The same checks and the same uploads as the steps validate-dataset, upload-data and validate-rows. Needs no Prefect.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from compute.base import Compute
from runs.dataset import dataset_files, limits_for
from runs.hosting import Prepared
from runs.results import read_stored
from runs.rows import looked_at
from runs.uploading import upload, upload_file
from sft import plan
from sft.config import RunConfig
from sft.dataset.dropped import check_enlarged
from sft.dataset.elsewhere import kind_of
from sft.dataset.packing import Amount
from sft.dataset.room import check_room
from sft.dataset.validate import validate
from sft.jobs.evaluate import Guard
from sft.jobs.placed_rows import DatasetPlace

Say = Callable[[str], None]


def prepare(config: RunConfig, compute: Compute, say: Say) -> Prepared:
    """Validate what lies here and send it; each content once. What lies elsewhere the hosted run looks at.

    Raises:
        DatasetError: rows break rules, or there is no such dataset on the volume; nothing was sent.
    """
    if config.dataset.volume:
        read_stored(config.dataset.volume, compute)
    if config.dataset.volume or config.dataset.placed:  # what lies elsewhere is brought and validated by the hosted run
        return Prepared(guards=_guards(config, compute, say))
    place, amount = _rows(config, compute, say)
    return Prepared(place=place, amount=(amount.rows, amount.as_pairs()), guards=_guards(config, compute, say))


def _rows(config: RunConfig, compute: Compute, say: Say) -> tuple[DatasetPlace, Amount]:
    files, limits = dataset_files(config, say), limits_for(config, compute, say)
    report = validate(files.train, files.held_out, config.dataset, limits, dev=files.dev, mix=files.mix)
    for line in report.lines():
        say(line)
    report.check()
    check_enlarged(report.train, config.train.dropped_rows)
    room = check_room(files.held_out, report.held_out.format, limits, config.evaluate.max_new_tokens)
    for warning in filter(None, (room, plan.memory_warning(config, report.train))):
        say(f"warning: {warning}")
    say(f"{report.train.rows} training and {report.held_out.rows} held-out rows, no errors")
    root = compute.dataset_root(files.root, report.fingerprint)
    count = upload(files, report, compute, say, partial(_room, compute, say), config.dataset.pack)
    say(f"dataset {root}: {count} files uploaded" if count else f"dataset {root} is on the volume already")
    return plan.dataset_of(config, files, report, root)


def _guards(config: RunConfig, compute: Compute, say: Say) -> dict[str, Guard]:
    found = {}
    for name, given in sorted(config.dataset.guard.items()):
        if kind_of(given):
            continue
        path, report, place = looked_at(config, compute, Path(given), say, judges=True)
        for line in report.lines():
            say(line)
        report.check()
        upload_file(path, report, compute, say, partial(_room, compute, say), config.dataset.pack)
        say(f"guard {name}: {report.train.rows} rows, no errors")
        found[name] = Guard(rows=place, fingerprint=report.train.fingerprint)
    return found


def _room(compute: Compute, say: Say, paths: list[str]) -> None:
    compute.check_room("data", paths, say)
