"""The layouts that people bring, a module each; recognised in this order, the first that fits counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sft.dataset.layouts import beside, chats, label_studio, paddleocr, pairs, webdataset
from sft.dataset.layouts.base import HEAD, SUFFIXES, Entry, Found, Layout, Note, Options, Source
from sft.dataset.layouts.named import NAMED, way_of
from sft.dataset.layouts.records import KINDS
from sft.dataset.layouts.walking import SPLITS, split_of, walk
from sft.dataset.lines import LFS
from sft.errors import InputError, listed

LAYOUTS = (
    *NAMED,
    paddleocr.TABLES,
    chats.OURS,
    chats.LAYOUT,
    label_studio.LAYOUT,
    webdataset.LAYOUT,
    paddleocr.LABELS,
    pairs.LAYOUT,
    beside.LAYOUT,
)
SHOWN = 5  # files or splits that an error names
SHARDED = (".parquet", ".arrow", ".tar", ".tar.gz", ".tgz")  # files of which one dataset has several
# Of a folder, these files may say what its images are: lists by name, tables and shards by their kind.
_LISTS = (*KINDS, ".txt", ".tar", ".tar.gz", ".tgz")
MANY = 20  # .txt files of a folder that may be lists
_LIST_NAMES = ("label", "list", "rec_gt", "train", "test", "val")
_PLAIN = ("readme", "license", "classes.txt", "requirements", "notes.txt")
_HUB = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json", "preprocessor_config.json")


def recognise(source: Source) -> Layout | None:
    """The layout of a file or folder; None for a file that is nothing known."""
    if source.head.startswith(LFS):
        return pairs.LAYOUT  # reading it says so
    return next((layout for layout in LAYOUTS if layout.recognise(source)), None)


def entries(path: Path, options: Options, target: Path) -> Iterator[Entry]:
    """What a source holds.

    Args:
        target: the file that is being written, which is no part of the source; nor are its splits.
    Raises:
        InputError: it is nothing that can be imported, or needs a decision.
    """
    if path.is_dir():
        yield from _folder(path, options, target)
    else:
        yield from _file(Source(path, options))


def _file(source: Source) -> Iterator[Entry]:
    layout = recognise(source)
    if layout is None and source.name.endswith(KINDS):
        layout = pairs.LAYOUT  # which says what cannot be read, or which columns there are
    if layout is None or layout.read is None:
        raise unknown(source, layout)
    yield from _based(source, layout)


def _based(source: Source, layout: Layout) -> Iterator[Entry]:
    """The entries of a file, whose relative paths start in its folder."""
    assert layout.read is not None
    for entry in layout.read(source):
        yield replace(entry, base=source.path.parent) if isinstance(entry, Found) else entry


def foreign(source: Source) -> tuple[str, str] | None:
    """(the layout's name, what to do) of a file that is no dataset file but something else that is known; else None."""
    layout = recognise(source)
    if layout is None or layout is chats.OURS:
        return None
    if layout.read is None:
        return layout.name, unknown(source, layout).remedy
    name = source.path.name.partition(".")[0]
    new = source.path.with_name(f"{name}.imported.jsonl")
    return layout.name, f"sft import {source.path} {new}"


def unknown(source: Source, layout: Layout | None) -> InputError:
    """The error for a source that is not imported."""
    path = source.path
    if layout is None:
        taken = "; ".join(entry.name for entry in LAYOUTS if entry.read is not None)
        said = f"docs/importing.md lists what is taken: {taken}; a list has image<TAB>text in each line"
        return InputError("its layout is not known", where=str(path), value=_glimpse(source), remedy=said)
    way = layout.way_out.format(path=path, stem=path.with_suffix(""), folder=path.parent, way=way_of(path))
    return InputError(f"it is {layout.name}, which is not imported", where=str(path), remedy=way)


def _glimpse(source: Source) -> str:
    """The start of a file, for a message."""
    return repr(source.head[:HEAD].decode("utf-8", "replace").strip()[:60])


def _folder(path: Path, options: Options, target: Path) -> Iterator[Entry]:
    lists = _lists(path, options, target)
    if named := next((entry for entry in NAMED if entry.recognise(Source(path, options))), None):
        raise unknown(Source(path, options), named)
    if not lists:
        yield from _of_split(beside.read(Source(path, options)), path, options, target)
        return
    chosen = _chosen(path, lists, options, target)
    for source, layout in chosen:
        yield from _based(source, layout)
    left = [source.path for source, _ in lists if source.path not in {s.path for s, _ in chosen}]
    yield from (Note("files of another split or set", str(other)) for other in left)


def _lists(path: Path, options: Options, target: Path) -> list[tuple[Source, Layout]]:
    """The files below a folder that say what its images are."""
    found: list[tuple[Source, Layout]] = []
    own = target.name.partition(".jsonl")[0]
    for folder in walk(path):
        if isinstance(folder, Note):
            continue
        texts = sum(name.lower().endswith(".txt") for name in folder.files)
        stems = {Path(name).stem.lower() for name in folder.files if name.lower().endswith(SUFFIXES)}
        for name in folder.files:
            lower = name.lower()
            file = folder.path / name
            if not lower.endswith(_LISTS) or lower.startswith(_PLAIN) or lower in (*_HUB, *paddleocr.STATES):
                continue
            if lower.endswith(".txt") and texts > MANY and not any(word in lower for word in _LIST_NAMES):
                continue  # each is the text of one image, perhaps in another folder
            if lower.startswith("cache-") or lower.endswith(".gt.txt"):
                continue  # cache-….arrow: what map() of datasets left behind
            if file.resolve().parent == target.resolve().parent and name.startswith(f"{own}."):
                continue  # written by an earlier import, or by a split of it
            if Path(lower).stem in stems and lower.endswith((".txt", ".json")):
                continue  # the text, or the annotation, of one image
            source = Source(file, options)
            layout = recognise(source)
            if layout is None or layout.read is None or layout is chats.OURS:
                continue
            if layout is not pairs.LAYOUT or lower.endswith(SHARDED) or pairs.has_columns(source):
                found.append((source, layout))  # else it is an inventory, or a count of something
    return found


def _chosen(
    path: Path, lists: list[tuple[Source, Layout]], options: Options, target: Path
) -> list[tuple[Source, Layout]]:
    """Those of the lists that make one dataset.

    Raises:
        InputError: there are several splits, or several sets of the same images: the user says which.
    """
    splits: dict[str, list[tuple[Source, Layout]]] = defaultdict(list)
    for entry in lists:
        splits[split_of(entry[0].path, path)].append(entry)
    if options.split and options.split != "all":
        if options.split not in splits:
            _no_split(path, options.split, sorted(splits))
        return splits[options.split]
    if len(splits) > 1 and not options.split:
        _several_splits(path, {name: [str(s.path) for s, _ in files] for name, files in splits.items()}, target)
    folders: dict[Path, list[tuple[Source, Layout]]] = defaultdict(list)
    for source, layout in lists:
        folders[source.path.parent].append((source, layout))
    for files in folders.values():
        if len(files) > 1 and not (options.split or all(s.name.endswith(SHARDED) for s, _ in files)):
            said = [f"sft import {source.path} {target}   # {layout.name}" for source, layout in files]
            value = ", ".join(source.path.name for source, _ in files[:SHOWN])
            remedy = f"name the one that is meant:{listed(said, SHOWN)}"
            raise InputError("several files say what these images are", where=str(path), value=value, remedy=remedy)
    return lists


def _several_splits(path: Path, splits: dict[str, list[str]], target: Path) -> None:
    known = {name or "without a name": len(files) for name, files in splits.items()}
    name, suffix = target.name.partition(".")[0], ".".join(target.name.split(".")[1:])
    said = [
        f"sft import {path} {target.with_name(f'{name}.{split}.{suffix}')} --split {split}" for split in splits if split
    ]
    said += [f"sft import {file} {target}   # of no split" for file in splits.get("", []) if file]
    value = ", ".join(f"{split}: {count}" for split, count in known.items())
    remedy = f"one file for each, or --split all:{listed(said, SHOWN)}"
    raise InputError(
        "the folder holds several splits, which must not be mixed", where=str(path), value=value, remedy=remedy
    )


def _no_split(path: Path, wanted: str, there: list[str]) -> None:
    value = f"{wanted}; there are: {', '.join(name or 'files without a split' for name in there) or 'none'}"
    raise InputError("the folder has no such split", where=str(path), value=value, remedy="name one of these, or all")


def _of_split(found: Iterator[Entry], path: Path, options: Options, target: Path) -> Iterator[Entry]:
    """The entries of images beside texts, by the split that a folder is named after."""
    seen: dict[str, int] = defaultdict(int)
    for entry in found:
        if not isinstance(entry, Note):
            split = next((SPLITS[p.lower()] for p in _below(entry.where, path) if p.lower() in SPLITS), "")
            seen[split] += isinstance(entry, Found)
            if options.split not in ("", "all", split):
                continue
        yield entry
    if "train" in seen and len(seen.keys() - {""}) > 1 and not options.split:
        _several_splits(path, {split: [""] * count for split, count in seen.items()}, target)
    if options.split not in ("", "all", *seen):
        _no_split(path, options.split, sorted(seen))


def _below(where: str, path: Path) -> tuple[str, ...]:
    """The folders between a source and a file in it."""
    return Path(where).relative_to(path).parts[:-1]


__all__ = ["LAYOUTS", "Options", "Source", "entries", "recognise", "unknown"]
