"""Images in tar shards: what is read from them is what a folder of files has, and what is torn does not count."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image

from sft.context import Context
from sft.dataset.findings import Report
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate
from sft.errors import DatasetError, InputError, IntegrityError
from sft.jobs.bring_dataset import image_names
from sft.jobs.placed_rows import DatasetPlace, RowsPlace
from sft.jobs.predict import Reading, rows_of_all
from sft.jobs.split_rows import SPLIT_ROWS
from sft.jobs.train_rows import engine_rows, training_rows
from sft.store.shards import unpacking
from sft.store.shards.choosing import packs
from sft.store.shards.index import FOLDER, INDEX
from sft.store.shards.reading import Packed
from sft.store.shards.writing import Shards, check_name, pack, planned
from sft.store.volumes import Volumes
from tests.conftest import Dataset

ODD = ("pages/a/ünï/1.png", "pages/" + "long-" * 30 + "/2.png", "1.jpg")
FILES = ("train.jsonl", "sub/held.jsonl")


KILLED = """
import os, sys
from pathlib import Path
from sft.context import Context
from sft.store.volumes import Volumes
volumes = Volumes.below(Path(sys.argv[1]))
context = Context(volumes, "call")
context.unpacked.paths([str(volumes.data / "shards" / "1.jpg")])
os._exit(9)
"""


def made(folder: Path) -> Dataset:
    """Names of all kinds; images that trainers would see otherwise, that are in both sets, broken, and missing."""
    data = Dataset(folder)
    names = [data.image(f"pages/{n % 3}/{n}.png", n) for n in range(30)] + [data.image(name, 99) for name in ODD]
    rows = [data.row(name, str(at)) for at, name in enumerate(names)]
    rows.append(data.row("pages/../pages/0/0.png", "another text"))
    Image.new("CMYK", (60, 40)).save(folder / "ink.jpg")
    Image.new("L", (1300, 900), 7).save(folder / "large.tif")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    rows += [
        data.row(name) for name in ("ink.jpg", "large.tif", "broken.png", "gone.png", "../secret.png", "/etc/passwd")
    ]
    data.write(FILES[0], rows)
    data.write(FILES[1], [data.row(data.image(f"sub/h{n}.png", 100 + n).replace("sub/", ""), "7") for n in range(4)])
    return data


def packed(source: Path, target: Path, most: int = 900) -> Shards:
    """The same set, its images packed into shards of ``most`` bytes."""
    names = [name for name in image_names(source, FILES) if (source / name).is_file()]
    shards = planned([(name, (source / name).stat().st_size) for name in names], most)
    for file in FILES:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).write_bytes((source / file).read_bytes())
    assert list(pack(target, shards, lambda wanted: {name: source / name for name in wanted}))[-1] == len(names)
    return shards


def said(report: Report, folder: Path) -> str:
    return repr([asdict(stats) for stats in report.splits] + [sorted(report.counts.items()), report.shown]).replace(
        str(folder), "DATA"
    )


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    volumes = Volumes.below(tmp_path / "volumes")
    volumes.make()
    return volumes


def test_packed_or_not_the_report_and_the_fingerprint_are_the_same(tmp_path: Path, volumes: Volumes) -> None:
    plain, shards = made(volumes.data / "plain").folder, volumes.data / "shards"
    plan = packed(plain, shards)
    assert len(plan) > 5
    assert not list(shards.rglob("*.png")), "nothing but shards"
    for look in ("content", "decode"):
        config = DatasetConfig(images=look, workers=1)
        one = validate(plain / FILES[0], plain / FILES[1], config)
        other = validate(shards / FILES[0], shards / FILES[1], config)
        assert {"image-type", "image-missing", "image-outside"} <= set(one.counts)
        assert other.fingerprint == one.fingerprint
        told, expected = said(other, shards), said(one, plain)
        assert told.replace(" while broken", "") == expected.replace(" while broken", "")
    # Any tar program reads them, and finds the images under the names of the rows.
    listed: list[str] = []
    for shard in sorted((shards / FOLDER).glob("*.tar")):
        with tarfile.open(shard) as tar:
            listed += tar.getnames()
    assert listed == [name for members in plan for name, _ in members]
    assert set(ODD) <= set(listed)
    unpack = tmp_path / "by-tar"
    unpack.mkdir()
    subprocess.run(["tar", "-xf", shards / FOLDER / "shard-000000.tar", "-C", unpack], check=True)
    first = plan[0][0][0]
    assert (unpack / first).read_bytes() == (plain / first).read_bytes()


def test_trainers_and_readers_have_files_while_a_job_runs(volumes: Volumes) -> None:
    plain, shards = made(volumes.data / "plain").folder, volumes.data / "shards"
    packed(plain, shards)
    lines = (shards / FILES[0]).read_text().splitlines(keepends=True)
    for folder in (plain, shards):
        (folder / FILES[0]).write_text("".join(lines[:33]))  # the good ones
    context = Context(volumes, "call")
    place = DatasetPlace(
        root="shards",
        train=FILES[0],
        held_out=FILES[1],
        train_format="erniekit",
        held_out_format="erniekit",
        fingerprint="f",
    )
    asked: list[str] = []

    def seen(names: list[str]) -> list[str]:
        asked.extend(names)
        return context.unpacked.paths(names)

    rows = list(engine_rows(training_rows(place, context), "messages", seen))
    files = context.unpacked.paths(asked)
    assert len(rows) == len(files) == 33
    for name, file in zip(asked, files):
        assert Path(file).read_bytes() == Path(name.replace("/shards/", "/plain/")).read_bytes()
        assert context.unpacked.name(Path(file)) == Path(name), "for people it keeps its name"
    assert context.unpacked.count == 33, "once each"
    reading = Reading(device="cpu", batch_size=1, max_new_tokens=1, max_rows=2)
    at = {root: RowsPlace(root=root, file=FILES[1], format="erniekit") for root in ("plain", "shards")}
    one, other = (rows_of_all(reading, at[root], context)[0] for root in ("plain", "shards"))
    assert [row.key() for row in one] == [row.key() for row in other], "what was read of one is read of the other"
    assert context.unpacked.count == 35, "of the sample alone"
    left = list((volumes.data / ".unpacked").iterdir())
    assert len(left) == 1
    context.close()
    assert not list((volumes.data / ".unpacked").iterdir())


def test_a_job_that_was_killed_leaves_nothing_for_long(volumes: Volumes) -> None:
    packed(made(volumes.data / "plain").folder, volumes.data / "shards")
    subprocess.run([sys.executable, "-c", KILLED, str(volumes.data.parent)], check=False)
    (left,) = (volumes.data / ".unpacked").iterdir()
    assert list(left.rglob("1.jpg"))
    with_job = Context(volumes, "b")
    assert with_job.unpacked.count == 0
    assert not left.exists()
    with_job.close()


def test_a_split_on_the_volume_reads_the_same_shards(volumes: Volumes) -> None:
    plain, shards = made(volumes.data / "plain").folder, volumes.data / "shards"
    packed(plain, shards)
    lines = (shards / FILES[0]).read_text().splitlines(keepends=True)
    (shards / FILES[0]).write_text("".join(lines[:33]))
    answer = SPLIT_ROWS.run({"file": f"shards/{FILES[0]}", "share": 0.3}, Context(volumes, "c"))
    train, held_out = answer["files"]
    report = validate(volumes.data / train, volumes.data / held_out, DatasetConfig(rules={"near-empty": "off"}))
    report.check()
    assert report.train.images + report.held_out.images == 33
    assert not list(shards.rglob("*.png"))


@pytest.mark.parametrize("place", ["shard", "byte", "index", "gone"])
def test_what_is_torn_is_said(place: str, volumes: Volumes) -> None:
    shards = volumes.data / "shards"
    packed(made(volumes.data / "plain").folder, shards)
    victim = shards / FOLDER / (INDEX if place == "index" else "shard-000001.tar")
    content = victim.read_bytes()
    if place == "gone":
        victim.unlink()
    else:
        at = len(content) // 2 if place == "index" else 540
        victim.write_bytes(
            content[: len(content) - 9] if place == "shard" else content[:at] + b"\xff" + content[at + 1 :]
        )
    with pytest.raises(IntegrityError, match=r"torn|not the one|cannot be used") as caught:
        validate(shards / FILES[0], shards / FILES[1], DatasetConfig(workers=1))
    assert "packed anew" in str(caught.value)
    names = [str(shards / name) for name in image_names(shards, FILES)]
    with pytest.raises(IntegrityError):
        Context(volumes, "call").unpacked.paths(names)


def test_a_packing_that_was_killed_counts_for_nothing_and_goes_on(volumes: Volumes) -> None:
    plain, shards = made(volumes.data / "plain").folder, volumes.data / "shards"
    plan = packed(plain, volumes.data / "whole")
    fetched: list[str] = []

    class Killed(Exception):
        pass

    def fetch(names: Sequence[str]) -> Mapping[str, Path]:
        fetched.extend(names)
        if names[0] == plan[3][0][0]:
            raise Killed
        return {name: plain / name for name in names}

    def again(names: Sequence[str]) -> Mapping[str, Path]:
        fetched.extend(names)
        return {name: plain / name for name in names}

    with pytest.raises(Killed):
        list(pack(shards, plan, fetch))
    assert Packed.above(shards) is None, "half a set counts"
    torn = shards / FOLDER / "shard-000001.tar"
    torn.write_bytes(torn.read_bytes()[:-2000])
    fetched.clear()
    list(pack(shards, plan, again))
    expected = [name for number, members in enumerate(plan) if number not in (0, 2) for name, _ in members]
    assert fetched == expected, "shards that were whole are kept, the torn one is not"
    whole = volumes.data / "whole" / FOLDER
    for path in whole.iterdir():
        assert (shards / FOLDER / path.name).read_bytes() == path.read_bytes(), "the same images, the same bytes"


def test_no_name_leads_out_of_the_folder(volumes: Volumes, tmp_path: Path) -> None:
    for name in ("../x.png", "/x.png", "a/../../x", "a/./x", "", ".", "a\0b", "a//b", "a/"):
        with pytest.raises(DatasetError, match="leads out"):
            check_name(name)
    # A shard of somebody else's with such a name, and an index that finds it: rows ask by their own names alone.
    shards = volumes.data / "shards"
    packed(made(volumes.data / "plain").folder, shards)
    context = Context(volumes, "call")
    secret = volumes.data / "secret.png"
    names = [f"{shards}/../secret.png", f"{shards}/../shards/../../x.png", "/etc/passwd", f"{shards}/1.jpg"]
    files = context.unpacked.paths(names)
    assert files[:3] == names[:3], "what is not packed keeps its own path, and validation refuses it"
    assert not secret.exists()
    assert Path(files[3]).resolve().is_relative_to((volumes.data / ".unpacked").resolve())
    context.close()


def test_a_full_disk_is_said_before_it_is_full(volumes: Volumes, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(made(volumes.data / "plain").folder, volumes.data / "shards")
    monkeypatch.setattr(unpacking, "SPARE", 1 << 60)
    context = Context(volumes, "call")
    with pytest.raises(InputError, match="no room for the packed images"):
        context.unpacked.paths([str(volumes.data / "shards" / "1.jpg")])
    context.close()


def test_when_a_set_is_packed() -> None:
    assert not packs("auto", 10_000, None)
    assert packs("auto", 10_001, None)
    assert packs("auto", 6_000, 44_001), "the volume would get slow"
    assert packs("always", 1, 0)
    assert not packs("never", 400_000, 100_000)
    with pytest.raises(InputError, match="500,000"):
        packs("never", 400_000, 100_001)


def test_no_shard_stays_open(volumes: Volumes) -> None:
    """Modal reloads no volume of which a file is open."""
    shards = volumes.data / "shards"
    packed(made(volumes.data / "plain").folder, shards)
    context = Context(volumes, "call")
    context.unpacked.paths([str(shards / name) for name in image_names(shards, FILES)])
    validate(shards / FILES[0], shards / FILES[1], DatasetConfig(workers=1))
    held = [
        os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{n}")
    ]
    assert not [path for path in held if ".tar" in path]
    context.close()
