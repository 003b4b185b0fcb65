"""A sample set whose images are addresses: all of it comes to the volume, or it does not count."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tenacity import wait_none

from compute.local import LocalCompute
from runs.results import read_stored
from sft import download
from sft.context import Context
from sft.errors import DatasetError
from sft.jobs import fetch_sample as job
from sft.jobs.fetch_sample import SampleArgs, fetch_sample
from tests.support.web_server import Site, serving


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (56, 28), shade).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download, "WAIT", wait_none())
    with serving() as site:
        for name, shades in (("train", range(6)), ("held", range(10, 12))):
            rows = []
            for shade in shades:
                site.files[f"/img/{shade}.png"] = png(shade)
                image = {"matched_text_index": 0, "image_url": f"{site.url}/img/{shade}.png"}
                texts = [{"text": "OCR:", "tag": "mask"}, {"text": str(shade), "tag": "no_mask"}]
                rows.append(json.dumps({"image_info": [image], "text_info": texts}))
            site.files[f"/{name}.jsonl"] = "\n".join(rows).encode()
        yield site


@pytest.fixture
def compute(home: Path) -> LocalCompute:
    return LocalCompute(home / "state")


def fetch(site: Site, compute: LocalCompute) -> dict[str, object]:
    args = SampleArgs(name="bengali", train=f"{site.url}/train.jsonl", held_out=f"{site.url}/held.jsonl")
    return fetch_sample(args, Context(compute.volumes, "call"))


def test_a_sample_becomes_a_dataset_on_the_volume_that_a_run_can_name(site: Site, compute: LocalCompute) -> None:
    assert fetch(site, compute)["volume"] == "samples/bengali"
    place, amount = read_stored("samples/bengali", compute)
    assert (amount.rows, place.train, place.train_format) == (6, "train.jsonl", "erniekit")
    folder = compute.volumes.data / "samples" / "bengali"
    assert "://" not in (folder / "train.jsonl").read_text()
    assert len(list((folder / "images").rglob("*.png"))) == 8
    site.requests.clear()
    assert fetch(site, compute)["fetched"] is False
    assert not site.requests


def test_a_part_of_a_set_never_counts_and_what_has_arrived_is_kept(site: Site, compute: LocalCompute) -> None:
    lost = site.files.pop("/img/3.png")
    with pytest.raises(DatasetError, match="1 of 6 images could not be fetched"):
        fetch(site, compute)
    with pytest.raises(DatasetError, match="no finished dataset"):
        read_stored("samples/bengali", compute)
    site.files["/img/3.png"] = lost
    site.requests.clear()
    fetch(site, compute)
    asked = {path for path in site.requests if path.startswith("/img/")}
    assert asked == {"/img/3.png", "/img/10.png", "/img/11.png"}, "the five that had arrived were not asked for again"


def test_rows_of_a_public_set_cannot_reach_into_the_private_network(
    site: Site, compute: LocalCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "is_private", lambda url: False)  # as if the set itself were public
    with pytest.raises(DatasetError, match="private network"):
        fetch(site, compute)
    assert not [path for path in site.requests if path.startswith("/img/")]


def test_something_else_than_an_image_is_found(site: Site, compute: LocalCompute) -> None:
    site.files["/img/3.png"] = b"<html>"
    with pytest.raises(DatasetError, match="image-type"):
        fetch(site, compute)
