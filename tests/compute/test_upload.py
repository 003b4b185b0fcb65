"""A dataset's way to the data volume: under the names that its rows use, and never onto a volume that is full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from grpclib import Status
from modal_proto import api_pb2

from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate
from sft.errors import DatasetError
from sft.jobs.train_rows import engine_rows, placed
from tests.conftest import Dataset
from tests.support.modal_runs import serving, sft
from tests.support.modal_server import ModalServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModalServer]:
    """A server with nothing deployed."""
    with serving(tmp_path / "server") as server:
        yield server


def linked(folder: Path, cache: Path) -> None:
    """As DVC leaves a dataset: rows and images are links into a cache."""
    data = Dataset(folder)
    names = [data.image(f"img/{shade}.png", shade) for shade in (1, 2, 3)]
    data.write("train.jsonl", [data.row(names[0]), data.row("img/../img/2.png", "43")])
    data.write("held.jsonl", [data.row(names[2])])
    cache.mkdir(parents=True)
    for path in [*sorted(folder.glob("img/*")), *sorted(folder.glob("*.jsonl"))]:
        path.rename(cache / path.name.replace(".", "-"))
        path.symlink_to(cache / path.name.replace(".", "-"))


@pytest.mark.parametrize("pack", ["never", "always"])
def test_links_lie_on_the_volume_under_the_names_of_the_rows(server: ModalServer, home: Path, pack: str) -> None:
    linked(home / "data", home / "data" / ".dvc" / "cache")
    process = sft(server, home, "upload", "data/train.jsonl", "data/held.jsonl", "--pack", pack)
    assert process.returncode == 0, process.stderr
    (place,) = (server.volumes_folder / "vo-paddleocr-vl-data" / "datasets").iterdir()
    found = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    images = {
        "never": ["img/1.png", "img/2.png", "img/3.png"],
        "always": ["packed/shard-000000.tar", "packed/index.bin"],
    }
    assert found == {"train.jsonl", "held.jsonl", "record.json", *images[pack]}
    there = validate(place / "train.jsonl", place / "held.jsonl", DatasetConfig())
    assert (there.errors, there.fingerprint[:16]) == (0, place.name), "what was validated is what lies there"


def test_a_name_means_what_was_uploaded_under_it_last(server: ModalServer, home: Path) -> None:
    data, places = Dataset(home / "data"), []
    held_out = data.write("held.jsonl", [data.row(data.image("h.png", 9))])
    for shade in (1, 2):
        train = data.write(f"{shade}.jsonl", [data.row(data.image(f"{shade}.png", shade))])
        sent = sft(server, home, "upload", str(train), str(held_out), "--as", "pages")
        assert "dataset.volume=named/pages" in sent.stdout, sent.stderr
        places.append(sent.stdout.rpartition("datasets/")[2].partition(":")[0])
        planned = sft(server, home, "plan", "full", "--set", "dataset.volume=named/pages")
        assert places[-1] in planned.stdout, planned.stdout + planned.stderr
    assert places[0] != places[1]


def test_jobs_find_the_images_beside_a_link_to_the_rows(tmp_path: Path) -> None:
    linked(tmp_path / "data", tmp_path / "data" / "cache")
    (row, _) = engine_rows(placed(tmp_path / "data" / "train.jsonl", "erniekit"), "messages")
    assert str(tmp_path / "data" / "img" / "1.png").encode() in row


def test_links_that_leave_the_folder_or_became_texts_are_named(tmp_path: Path) -> None:
    """As the HF Hub's cache has them, and as Git without ``core.symlinks`` and some archives leave them."""
    folder, cache = tmp_path / "snapshots", tmp_path / "blobs"
    linked(folder, cache)
    with pytest.raises(DatasetError, match=r"img/1.png: through a link to \S+blobs/1-png(.|\n)*cp -rL"):
        validate(folder / "train.jsonl", folder / "held.jsonl", DatasetConfig()).check()
    for path in (folder / "train.jsonl", folder / "img" / "3.png"):
        target = path.readlink()
        path.unlink()
        path.write_text(f"../{'../' * (path.parent != folder)}blobs/{target.name}")
    with pytest.raises(DatasetError, match=r"text of a copied link \(found ../blobs/train-jsonl\)"):
        validate(folder / "train.jsonl", folder / "held.jsonl", DatasetConfig())
    with pytest.raises(DatasetError, match=r"img/3.png: the text of a link to ../../blobs/3-png"):
        validate(folder / "held.jsonl", cache / "train-jsonl", DatasetConfig()).check()


def test_a_full_volume_is_said_before_anything_is_sent(server: ModalServer, home: Path) -> None:
    data = Dataset(home / "data")
    data.write("train.jsonl", [data.row(data.image("1.png", 1))])
    data.write("held.jsonl", [data.row(data.image("2.png", 2))])
    files = ("data/train.jsonl", "data/held.jsonl")
    server.crowd = 499_996  # with these, their folders and ours, one more than a volume takes
    full = sft(server, home, "upload", *files)
    assert (full.returncode, "500,000" in full.stderr, "--version 2" in full.stderr) == (1, True, True), full.stderr
    place = server.volumes_folder / "vo-paddleocr-vl-data"
    assert not list(place.rglob("*.png"))
    server.version = api_pb2.VOLUME_FS_VERSION_V2
    server.refused["VolumePutFiles2"] = Status.UNIMPLEMENTED
    other = sft(server, home, "upload", *files)
    assert "500,000" not in other.stderr + other.stdout
    assert server.rpcs["VolumePutFiles2"], "version 2 has no such bound"
    server.version, server.crowd = api_pb2.VOLUME_FS_VERSION_V1, 60_000
    slow = sft(server, home, "upload", *files)
    assert slow.returncode == 0, slow.stderr
    assert "gets slow to attach with 60," in slow.stdout
    assert {path.suffix for path in place.rglob("*") if path.is_file()} == {".jsonl", ".json", ".tar", ".bin"}
