"""Job ``bring_dataset``: a dataset of the HF Hub or a bucket on the data volume, once for each content.

Where the images are many they come as tar shards (:mod:`sft.store.shards`), which are made on the machine's own disk.

It runs where the volume is, so that rows and images go there straight. Content decides the folder: the commit and the
columns of a Hub's dataset; the ETags of a bucket's rows and of the images that they name. A folder counts once
``brought.json`` is written, last; what has arrived before is kept.

A bucket is copied, not mounted: a mounted one may change in the middle of a training, each pass would fetch its images
again, and what a training was made from could not be read again later.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sft.context import Context
from sft.dataset.buckets import Bucket, Object
from sft.dataset.importing import import_dataset
from sft.dataset.layouts.base import Options
from sft.dataset.reading import detect_file, read_samples
from sft.dataset.settings import HubConfig
from sft.dataset.split import split
from sft.jobs.base import Job
from sft.store import records
from sft.store.shards.choosing import Packing, packs
from sft.store.shards.writing import pack, planned

BROUGHT = "brought.json"
MAX_ROWS_FILE = 20 * 10**9  # bytes
VERSION = 1  # of what is made of a dataset of the Hub: another one makes it anew
SAID = 1000  # images between two events


class BringArgs(BaseModel):
    """``scheme`` hf: ``root`` is OWNER/NAME, ``hub`` says which rows; else it is BUCKET/FOLDER, which has the files.

    ``one``: a single set, ``train``; of the Hub all rows of ``hub.train_split``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Literal["hf", "s3", "gs", "r2"]
    root: str
    revision: str = ""
    hub: HubConfig = HubConfig()
    train: str = ""
    held_out: str = ""
    dev: str = ""
    endpoint: str = ""
    max_image_bytes: int = Field(50_000_000, ge=1)
    one: bool = False
    packing: Packing = "auto"
    there: int | None = None  # files and folders on the volume, where they are bounded


def bring_dataset(args: BringArgs, context: Context) -> Mapping[str, object]:
    """Bring it unless the same content is there.

    Returns: ``{"root": folder on the data volume, "train", "held_out", "dev": files in it, "fetched": now?}``.
    Raises:
        DatasetError: the source cannot be used; InputError: it may not be read; TransientError: it cannot be reached.
        LeaseHeld: another call brings the same.
    """
    return _hub(args, context) if args.scheme == "hf" else _bucket(args, context)


def _hub(args: BringArgs, context: Context) -> Mapping[str, object]:
    from sft.models.hub import commit_of, fetch_snapshot

    commit = commit_of(args.root, args.revision, "dataset", lambda text: context.event("note", text=text))
    how = records.fingerprint({"hub": args.hub.model_dump(), "version": VERSION} | ({"one": True} if args.one else {}))
    root = f"hub/{args.root.replace('/', '--')}@{commit[:12]}-{how[:8]}"
    folder = context.volumes.data / root
    files = {"train": "train.jsonl", "held_out": "" if args.one else "held_out.jsonl", "dev": ""}
    answer = {"root": root, **files, "commit": commit}
    if records.read_json(folder / BROUGHT):
        return {**answer, "fetched": False}
    with context.lease(context.volumes.data / ".leases" / root.replace("/", "--")) as held:
        if not records.read_json(folder / BROUGHT):
            source = context.volumes.data / "hub" / f".{args.root.replace('/', '--')}@{commit[:12]}"
            fetch_snapshot(args.root, commit, source, kind="dataset")
            imported = context.scratch(folder.with_name(f".{folder.name}"))
            _import(args, source, imported, context)
            store(imported, folder, ["train.jsonl"] if args.one else ["train.jsonl", "held_out.jsonl"], args, context)
            held.check()
            shutil.rmtree(source)
            shutil.rmtree(imported)
            records.write_json(folder / BROUGHT, answer)
            context.commit()
    return {**answer, "fetched": True}


def _import(args: BringArgs, source: Path, folder: Path, context: Context) -> None:
    hub = args.hub

    def taken(name: str, target: Path) -> None:
        image, text = hub.image_column, hub.text_column
        options = Options(task=hub.task, image_column=image, text_column=text, split=name, force=True)
        import_dataset(source, target, options, lambda text: context.event("note", text=text))

    train, held_out = folder / "train.jsonl", folder / "held_out.jsonl"
    if args.one:
        taken(hub.train_split, train)
        return
    if hub.held_out_split:
        taken(hub.train_split, train)
        taken(hub.held_out_split, held_out)
        return
    every = folder / "every.jsonl"
    taken(hub.train_split, every)
    for note in split(every, train, held_out, share=hub.held_out, force=True).notes:
        context.event("note", text=note)
    every.unlink()


def _bucket(args: BringArgs, context: Context) -> Mapping[str, object]:
    name, _, prefix = args.root.partition("/")
    bucket, files = Bucket(args.scheme, name, args.endpoint), [*filter(None, [args.train, args.held_out, args.dev])]
    arriving = (
        context.volumes.data / "buckets" / f".{records.fingerprint([args.scheme, args.endpoint, args.root])[:16]}"
    )
    answer = {"train": args.train, "held_out": args.held_out, "dev": args.dev}
    with context.lease(context.volumes.data / ".leases" / arriving.name):
        wanted = {file: bucket.look(f"{prefix}/{file}" if prefix else file) for file in files}
        for file, found in wanted.items():
            bucket.fetch(found, arriving / file, MAX_ROWS_FILE)
        images = _images(args, bucket, prefix, arriving, files)
        wanted |= images
        content = sorted((file, found.etag, found.size) for file, found in wanted.items())
        root = f"buckets/{name}-{records.fingerprint(content)[:16]}"
        folder = context.volumes.data / root
        answer = {"root": root, **answer}
        if records.read_json(folder / BROUGHT):
            shutil.rmtree(arriving, ignore_errors=True)
            return {**answer, "fetched": False}
        if packs(args.packing, len(wanted), args.there):
            _fetch_packed(bucket, images, folder, context)
            wanted = {file: wanted[file] for file in files}
        for done in bucket.fetch_all(wanted, folder, MAX_ROWS_FILE):
            _said(context, done, len(wanted))
        shutil.rmtree(arriving, ignore_errors=True)
        records.write_json(folder / BROUGHT, answer)
        context.commit()
    return {**answer, "fetched": True}


def _fetch_packed(bucket: Bucket, images: dict[str, Object], folder: Path, context: Context) -> None:
    """Fetch the images of a shard to the machine's disk, pack them, and go on with the next."""
    place = folder / ".arriving"

    def fetched(names: Sequence[str]) -> dict[str, Path]:
        arrived = context.scratch(place)
        for _ in bucket.fetch_all({name: images[name] for name in names}, arrived, MAX_ROWS_FILE):
            pass
        return {name: arrived / name for name in names}

    for done in pack(folder, planned((name, found.size) for name, found in images.items()), fetched):
        _said(context, done, len(images), every=1)
        context.commit()  # a call that is killed has lost one shard
    shutil.rmtree(context.scratch(place))


def store(source: Path, folder: Path, files: Sequence[str], args: BringArgs, context: Context) -> None:
    """Put rows and the images that they name from a folder of this machine to one on the volume, packed or not.

    Args:
        files: of rows, in both folders.
    """
    names = [name for name in image_names(source, files) if (source / name).is_file()]
    if packs(args.packing, len(names) + len(files), args.there):
        shards = planned((name, (source / name).stat().st_size) for name in names)
        for done in pack(folder, shards, lambda wanted: {name: source / name for name in wanted}):
            _said(context, done, len(names), every=1)
            context.commit()
        names = []
    for done, name in enumerate([*names, *files], 1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source / name, folder / name)
        _said(context, done, len(names) + len(files))


def image_names(folder: Path, files: Sequence[str]) -> list[str]:
    """The images that rows name, relative to the folder of all, in the order of the rows; none that leads out of it."""
    names: dict[str, None] = {}
    for file in files:
        path = folder / file
        for sample in read_samples(path, detect_file(path)):
            for image, _ in sample.images:
                place = os.path.normpath(os.path.join(os.path.dirname(file), image))
                if not place.startswith(("..", "/")) and "\0" not in place and "://" not in image:
                    names[place] = None
    return list(names)


def _said(context: Context, done: int, total: int, every: int = SAID) -> None:
    if done % every == 0 or done == total:
        context.event("download", file="images", bytes=done, total=total)


def _images(args: BringArgs, bucket: Bucket, prefix: str, folder: Path, files: list[str]) -> dict[str, Object]:
    """File → object, of the images that rows name; those that are missing or too large the validation finds."""
    names: dict[str, Object | None] = dict.fromkeys(image_names(folder, files))
    start = len(prefix) + 1 if prefix else 0
    for found in bucket.list(prefix):
        if found.key[start:] in names and found.size <= args.max_image_bytes:
            names[found.key[start:]] = found
    return {name: found for name, found in names.items() if found is not None}


BRING_DATASET = Job("bring_dataset", BringArgs, bring_dataset)
