"""Jobs ``scan_rows`` and ``merge_scans``: a dataset on the data volume is validated there, by several calls.

Each call reads a share of every file's ranges and leaves what they came to on the volume; one more reads that in the
order of the files and makes the report, the same as one that had read them all (:mod:`sft.dataset.shares`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sft.context import Context
from sft.dataset import shares, told
from sft.dataset.parts import Part
from sft.dataset.room import check_room
from sft.dataset.settings import DatasetConfig
from sft.dataset.tokens import Limits
from sft.dataset.validate import GUARD, options_for, validate, validate_file
from sft.errors import DatasetError
from sft.families import FAMILIES, TINY
from sft.jobs.base import Job
from sft.store import records

SCANS = ".scans"  # on the data volume: what shares came to, until they are merged


class Room(BaseModel):
    """What a row may become: ``model`` is the base's folder on the models volume, whose tokenizer counts.

    ``enlarges`` is by how much the trainer may lengthen an image's sides; ``answer`` the tokens of a read answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    model: str
    max_seq_len: int
    enlarges: float
    answer: int

    def limits(self, context: Context) -> Limits:
        """The same as the orchestrator's (:func:`runs.dataset.limits_of`)."""
        return limits_of(self, context.volumes.models / self.model)


def limits_of(room: Room, folder: Path | None) -> Limits:
    """By a folder with the base model's small files; None: by what is known of its family."""
    family = {**FAMILIES, TINY.name: TINY}[room.family]
    bounds = Limits(room.max_seq_len, min_pixels=family.min_pixels, max_pixels=family.max_pixels)
    limits = Limits.of_model(folder, room.max_seq_len) if folder else bounds
    more: dict[str, Any] = {"asks": family.asks, "tasks": family.tasks, "places": family.locations}
    return replace(limits, enlarges=room.enlarges, **more)


def _below(given: str) -> str:
    if given.startswith("/") or ".." in PurePosixPath(given).parts:
        raise ValueError("a path below the data volume")
    return given


Below = Annotated[str, AfterValidator(_below)]


class PlacedSet(BaseModel):
    """A file of rows: it lies in ``root``, a folder on the data volume, beside or above its images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Below
    file: Below

    @property
    def place(self) -> str:
        """The file's path on the data volume."""
        return (PurePosixPath(self.root) / self.file).as_posix()


class PlacedFiles(BaseModel):
    """``train`` and ``held_out`` lie in ``root``, a folder on the data volume, beside or above their images; so does
    ``dev``, unless it is a set of its own, as those that are mixed in are. Without ``held_out`` it is one set alone,
    by whose rows models are judged where it ``judges``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Below
    train: Below
    held_out: Below = ""
    dev: Below = ""
    own_dev: PlacedSet | None = None
    mix: dict[str, PlacedSet] = Field(default_factory=dict)
    judges: bool = False

    @property
    def every(self) -> dict[str, PlacedSet]:
        """Set → file: held_out, dev where there is one, train, mix-NAME; ``file`` or ``guard`` of one set alone."""
        if not self.held_out:
            return {GUARD if self.judges else "file": PlacedSet(root=self.root, file=self.train)}
        dev = PlacedSet(root=self.root, file=self.dev) if self.dev else self.own_dev
        found = {"held_out": PlacedSet(root=self.root, file=self.held_out)} | ({"dev": dev} if dev else {})
        found["train"] = PlacedSet(root=self.root, file=self.train)
        return found | {f"mix-{name}": mixed for name, mixed in self.mix.items()}

    def path(self, split: str, context: Context) -> Path:
        """The file of a set.

        Raises:
            DatasetError: there is none, or it leaves the volume by a link.
        """
        place, volume = self.every[split].place, context.volumes.data.resolve()
        path = context.volumes.data / place
        if not path.is_file() or not path.resolve().is_relative_to(volume):
            remedy = "modal volume ls paddleocr-vl-data FOLDER lists what is there"
            raise DatasetError("no such file on the data volume", where=f"volume://{place}", remedy=remedy)
        return path


class ScanArgs(BaseModel):
    """A share of the work. ``dataset`` has the rules and bounds; where the rows are, ``files`` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: PlacedFiles
    dataset: DatasetConfig
    room: Room
    share: int = Field(0, ge=0)
    shares: int = Field(1, ge=1)

    @property
    def key(self) -> str:
        """Names the validation that this is a share of."""
        return records.fingerprint(self.model_dump(mode="json", exclude={"share"}))[:16]

    def folder(self, context: Context) -> Path:
        """Where the shares leave what they came to."""
        return context.volumes.data / SCANS / self.key


def scan_rows(args: ScanArgs, context: Context) -> Mapping[str, object]:
    """Read the share's ranges of every file.

    Returns: ``{"rows": good rows}``.
    Raises:
        DatasetError: a file is missing, empty, of no known format, or damaged.
    """
    limits, rows = args.room.limits(context), 0
    for split in args.files.every:
        path = args.files.path(split, context)
        options, _ = options_for(path, split, args.dataset, limits, images=True, documents=True)
        size = path.stat().st_size
        # A container sees all cores of its machine, of which it may have few: processes are started where asked for.
        parts = shares.scan(path, options, args.share, args.shares, args.dataset.workers or 1)
        rows += shares.write(args.folder(context) / shares.name(split, args.share), parts, size)
    context.commit()
    return {"rows": rows}


def merge_scans(args: ScanArgs, context: Context) -> Mapping[str, object]:
    """The report of all shares, which are then removed.

    Returns: ``{"report": see :mod:`sft.dataset.told`, "warning": of answers that cannot be read whole, or empty}``.
    Raises:
        DatasetError: a file is missing.
        TransientError: a share is not there, or a file has another size than when it was read.
    """
    folder, limits = args.folder(context), args.room.limits(context)
    paths = {split: args.files.path(split, context) for split in args.files.every}

    def said(split: str, done: int, total: int, rows: int) -> None:
        context.event("validate", split=split, done=done, total=total, rows=rows)

    def scans(path: Path, split: str, _: object) -> Iterator[tuple[int, Part]]:
        return shares.merged(folder, path, split, args.shares)

    if not args.files.held_out:
        (judges,) = paths.values()
        how: dict[str, Any] = {"judges": args.files.judges, "progress": said, "scans": scans}
        report = validate_file(judges, args.dataset, limits, **how)
        form = report.train.format
    else:
        mix = {name: paths[f"mix-{name}"] for name in args.files.mix}
        more: dict[str, Any] = {"dev": paths.get("dev"), "mix": mix}
        report = validate(paths["train"], paths["held_out"], args.dataset, limits, progress=said, scans=scans, **more)
        judges, form = paths["held_out"], report.held_out.format
    warning = "" if report.errors else check_room(judges, form, limits, args.room.answer)
    shutil.rmtree(folder, ignore_errors=True)
    context.commit()
    return {"report": told.plain(report), "warning": warning}


SCAN_ROWS = Job("scan_rows", ScanArgs, scan_rows)
MERGE_SCANS = Job("merge_scans", ScanArgs, merge_scans)
