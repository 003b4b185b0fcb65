"""A dataset that several calls read is judged as by one: whatever the cuts, the same report."""

from __future__ import annotations

import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sft.context import Context
from sft.dataset import shares, told
from sft.dataset.parts import Options, Part
from sft.dataset.ranges import Reader
from sft.dataset.settings import DatasetConfig
from sft.dataset.tokens import Limits
from sft.dataset.validate import options_for, validate
from sft.errors import DatasetError, TransientError
from sft.jobs.scan_rows import PlacedFiles, Room, ScanArgs, limits_of, merge_scans, scan_rows
from sft.store.volumes import Volumes
from tests.conftest import Dataset

ROOM = Room(family="tiny", model="none", max_seq_len=4096, enlarges=1.0, answer=64)
CONFIG = DatasetConfig(shown=3)


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    volumes = Volumes.below(tmp_path / "volumes")
    volumes.make()
    return volumes


@pytest.fixture
def placed(volumes: Volumes) -> PlacedFiles:
    """Some hundred rows with everything that is to be found: repeats, conflicts, leaks, broken and missing ones."""
    data, chance = Dataset(volumes.data / "pages"), random.Random(5)
    names = [data.image(f"images/doc-{n // 4}/{n}.png", n % 200) for n in range(120)]
    rows: list[Any] = [data.row(chance.choice(names[:100]), f"text {chance.randrange(9)}") for _ in range(400)]
    for number in range(0, 400, 23):
        rows[number] = chance.choice(
            [
                b"{",
                b"",
                data.row("gone.png"),
                data.row("../../outside.png"),
                {**rows[1], "more": 1},
                data.row(names[0], ""),
            ]
        )
    own = {**data.row(names[118], "said"), "answered_by": "base"}
    rows[7] = own  # trained on, as dataset.mix would
    data.write("train.jsonl", rows)
    data.write("held_out.jsonl", [data.row(name, "held") for name in names[95:115]] + [b"[1]", own])
    data.write("dev.jsonl", [data.row(name, "dev") for name in names[112:]])
    return PlacedFiles(root="pages", train="train.jsonl", held_out="held_out.jsonl", dev="dev.jsonl")


def args_of(files: PlacedFiles, number: int) -> list[ScanArgs]:
    return [ScanArgs(files=files, dataset=CONFIG, room=ROOM, share=n, shares=number) for n in range(number)]


@pytest.mark.parametrize("number", [1, 3, 7])
def test_the_merged_report_is_the_one_of_a_single_reader(
    placed: PlacedFiles, volumes: Volumes, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "LEAST", 700)  # so that the small file has many ranges
    monkeypatch.setattr(shares, "FOLD", 30)
    context, every = Context(volumes, "call"), args_of(placed, number)
    for share in reversed(every):  # in any order
        scan_rows(share, context)
    answer = merge_scans(every[0], context)
    paths = {split: placed.path(split, context) for split in placed.every}
    limits = limits_of(ROOM, volumes.models / ROOM.model)
    alone = validate(paths["train"], paths["held_out"], CONFIG, limits, dev=paths["dev"])
    merged = told.report_of(answer["report"])  # type: ignore[arg-type]
    assert merged == alone
    assert merged.as_record() == alone.as_record()
    assert alone.errors > 10
    wanted = {"image-missing", "duplicate", "conflict", "leak-image", "leak-dev", "leak-document", "own-answer"}
    assert wanted <= set(alone.counts), alone.counts
    assert alone.counts["own-answer"] == 1, "of the held-out set alone"
    assert not (volumes.data / ".scans" / every[0].key).exists()


def test_parts_may_be_put_together_in_any_grouping(placed: PlacedFiles, volumes: Volumes) -> None:
    path = placed.path("train", Context(volumes, "call"))
    options, _ = options_for(path, "train", CONFIG, Limits(), images=True, documents=True)
    size = path.stat().st_size

    def scanned() -> list[Part]:
        return [
            Reader(path, options).scan(piece) for piece in ((0, 9000), (9000, 9001), (9001, 20_000), (20_000, size))
        ]

    whole = Reader(path, options).scan((0, size))
    a, b, c, d = scanned()
    left = _then(_then(_then(a, b, options), c, options), d, options)
    a, b, c, d = scanned()
    right = _then(a, _then(b, _then(c, d, options), options), options)
    for found in (left, right):
        for field in fields(Part):
            assert getattr(found, field.name) == getattr(whole, field.name), field.name


def _then(first: Part, second: Part, options: Options) -> Part:
    first.then(second, options.shown)
    return first


def test_a_share_that_is_torn_missing_or_of_another_file_does_not_count(placed: PlacedFiles, volumes: Volumes) -> None:
    context, every = Context(volumes, "call"), args_of(placed, 2)
    scan_rows(every[0], context)
    with pytest.raises(TransientError, match="is not there"):
        merge_scans(every[0], context)
    scan_rows(every[1], context)
    torn = every[0].folder(context) / shares.name("train", 1)
    content = torn.read_bytes()
    torn.write_bytes(content[:-12])
    with pytest.raises(TransientError, match="is not there"):
        merge_scans(every[0], context)
    torn.write_bytes(content)
    with placed.path("train", context).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(TransientError, match="changed while it was read"):
        merge_scans(every[0], context)


def test_files_of_elsewhere_are_refused(placed: PlacedFiles, volumes: Volumes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="below the data volume"):
        PlacedFiles(root="..", train="a", held_out="b")
    (tmp_path / "secret.jsonl").write_text("{}")
    (volumes.data / "pages" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    for name in ("link.jsonl", "none.jsonl"):
        files = placed.model_copy(update={"train": name})
        with pytest.raises(DatasetError, match="no such file on the data volume"):
            scan_rows(ScanArgs(files=files, dataset=CONFIG, room=ROOM), Context(volumes, "call"))
