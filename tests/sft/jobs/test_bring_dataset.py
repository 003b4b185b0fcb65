"""Datasets of the Hub and of buckets come to the data volume once for each content, by the real libraries."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from sft.context import Context
from sft.dataset.buckets import Bucket, Object
from sft.dataset.settings import DatasetConfig, HubConfig
from sft.dataset.validate import validate
from sft.errors import DatasetError, InputError, SftError, TransientError
from sft.jobs.bring_dataset import BringArgs, bring_dataset
from sft.store.shards.choosing import Packing
from sft.store.shards.index import FOLDER, INDEX
from sft.store.shards.reading import Packed
from sft.store.shards.writing import planned
from sft.store.volumes import Volumes
from tests.conftest import Dataset
from tests.support.hub_server import COMMIT, Hub, hub_of

REPO = "team/receipts"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    volumes = Volumes.below(tmp_path / "volumes")
    volumes.make()
    return Context(volumes, "call")


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (56, 28), shade).save(buffer, "PNG")
    return buffer.getvalue()


def table(shades: range) -> bytes:
    """A split in the layout of the Hub: images as their bytes."""
    rows = [{"picture": {"bytes": png(shade), "path": f"{shade}.png"}, "words": f"no {shade}"} for shade in shades]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def judged(answer: Any, context: Context) -> tuple[int, int]:
    folder = context.volumes.data / answer["root"]
    report = validate(folder / answer["train"], folder / answer["held_out"], DatasetConfig())
    report.check()
    return report.train.rows, report.held_out.rows


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_of(REPO, "dataset") as hub:
        hub.files["README.md"] = b"---\nlicense: mit\n---\nReceipts\n"
        hub.files["data/train-00000-of-00001.parquet"] = table(range(20))
        hub.files["data/test-00000-of-00001.parquet"] = table(range(30, 34))
        yield hub


BODY = """
import json, sys
from pathlib import Path
from sft.context import Context
from sft.errors import SftError, to_wire
from sft.jobs.bring_dataset import BringArgs, bring_dataset
from sft.store.volumes import Volumes
try:
    args = BringArgs.model_validate_json(sys.argv[2])
    print("OUT", json.dumps(bring_dataset(args, Context(Volumes.below(Path(sys.argv[1])), "call"))))
except SftError as error:
    print("OUT", json.dumps({"error": to_wire(error)}))
"""


def from_hub(hub: Hub, context: Context, token: str = "", packing: Packing = "auto", **how: str) -> dict[str, Any]:
    """The library reads HF_ENDPOINT and HF_TOKEN when it is imported: each fetch has a process of its own."""
    root = context.volumes.data.parent
    variables = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(root / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    variables |= {"HF_TOKEN": token} if token else {}
    columns = HubConfig.model_validate({"image_column": "picture", "text_column": "words", **how})
    args = BringArgs(scheme="hf", root=REPO, revision="main", hub=columns, packing=packing)
    command = [sys.executable, "-c", BODY, str(root), args.model_dump_json()]
    process = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert "OUT {" in process.stdout, process.stderr
    assert not token or token not in process.stdout + process.stderr
    answer: dict[str, Any] = json.loads(process.stdout.split("OUT", 1)[1])
    return answer


def test_a_dataset_of_the_hub_is_pinned_imported_and_fetched_once(hub: Hub, context: Context) -> None:
    first = from_hub(hub, context, held_out_split="test")
    assert (first["commit"], first["fetched"]) == (COMMIT, True)
    assert judged(first, context) == (20, 4)
    hub.requests.clear()
    again = from_hub(hub, context, held_out_split="test")
    assert (again["root"], again["fetched"]) == (first["root"], False)
    assert not [request for request in hub.requests if "/resolve/" in request], "it was fetched again"
    split = from_hub(hub, context, packing="always")  # other rows of it: another folder
    assert not list((context.volumes.data / split["root"]).rglob("*.png"))
    assert (context.volumes.data / split["root"] / FOLDER / INDEX).is_file()
    assert split["root"] != first["root"]
    rows, aside = judged(split, context)
    assert rows + aside == 20
    assert aside > 0
    left = [path.name for path in (context.volumes.data / "hub").iterdir() if path.name.startswith(".")]
    assert not left


def test_what_the_hub_refuses_says_what_to_do(hub: Hub, context: Context) -> None:
    hub.token = "hf_right"
    told = from_hub(hub, context)["error"]
    assert (told["type"], "no such dataset" in told["message"]) == ("InputError", True)
    assert "dataset.train" in told["remedy"]
    hub.files["data/train-00000-of-00001.parquet"] = b"no table" * 200
    assert from_hub(hub, context, token="hf_right")["error"]["type"] in ("DatasetError", "InputError")
    assert not list((context.volumes.data / "hub").glob("*/brought.json")), "a part of it counts as the whole"


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """moto's server: S3's own protocol on this machine."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def pages(service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Rows and images in the bucket ``scans``, below ``2024/``; beside them what no row names."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example-secret-key")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    data = Dataset(tmp_path / "scans" / "2024")
    data.write("train.jsonl", [data.row(data.image(f"images/{n}.png", n), f"{n}") for n in range(30)])
    data.write("held.jsonl", [data.row(data.image(f"images/{n}.png", n), f"{n}") for n in range(40, 45)])
    data.image("images/other.png", 99)
    send(service, data.folder)
    return data


def client(service: str) -> Any:
    return boto3.client("s3", endpoint_url=service, region_name="us-east-1")


def send(service: str, folder: Path) -> None:
    s3 = client(service)
    s3.create_bucket(Bucket="scans")
    for key in [entry["Key"] for entry in s3.list_objects_v2(Bucket="scans").get("Contents", [])]:
        s3.delete_object(Bucket="scans", Key=key)
    for path in folder.rglob("*.*"):
        s3.upload_file(str(path), "scans", path.relative_to(folder.parent).as_posix())


def asked(service: str, **more: Any) -> BringArgs:
    files = {"root": "scans/2024", "train": "train.jsonl", "held_out": "held.jsonl"}
    return BringArgs.model_validate({"scheme": "s3", **files, "endpoint": service, **more})


def test_a_bucket_comes_once_for_each_content(service: str, pages: Dataset, context: Context) -> None:
    first: Any = bring_dataset(asked(service), context)
    assert (first["fetched"], judged(first, context)) == (True, (30, 5))
    folder = context.volumes.data / first["root"]
    assert not (folder / "images" / "other.png").exists(), "no row names it"
    inode = (folder / "images" / "1.png").stat().st_ino
    again: Any = bring_dataset(asked(service), context)
    assert (again["root"], again["fetched"]) == (first["root"], False)
    assert (folder / "images" / "1.png").stat().st_ino == inode
    client(service).put_object(Bucket="scans", Key="2024/images/1.png", Body=png(200))
    changed: Any = bring_dataset(asked(service), context)
    assert changed["root"] != first["root"], "an image that changed is another content"
    assert (folder / "images" / "1.png").stat().st_ino == inode
    assert [path.name for path in (context.volumes.data / "buckets").iterdir() if path.name.startswith(".")] == []


def test_many_images_come_as_shards_and_a_call_that_was_killed_has_lost_one(
    service: str, pages: Dataset, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sft.jobs.bring_dataset.planned", partial(planned, most=1000))
    fetch, fetched = Bucket.fetch, list[str]()

    def until(bucket: Bucket, found: Object, target: Path, most: int) -> None:
        if len(fetched) == 25:
            raise ConnectionError("the machine is taken away")
        if found.key.endswith(".png"):
            fetched.append(found.key)
        fetch(bucket, found, target, most)

    monkeypatch.setattr(Bucket, "fetch", until)
    with pytest.raises(ConnectionError):
        bring_dataset(asked(service, packing="always"), context)
    (folder,) = (path for path in (context.volumes.data / "buckets").iterdir() if not path.name.startswith("."))
    shards = {path.name: path.stat().st_ino for path in (folder / FOLDER).glob("*.tar")}
    assert shards
    assert not (folder / "brought.json").exists()
    assert Packed.above(folder) is None, "what has arrived counts for nothing yet"
    monkeypatch.setattr(Bucket, "fetch", fetch)
    answer: Any = bring_dataset(asked(service, packing="always"), context)
    assert judged(answer, context) == (30, 5)
    assert {name: (folder / FOLDER / name).stat().st_ino for name in shards} == shards, "whole shards are kept"
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".jsonl", ".json", ".tar", ".bin"}
    report = validate(folder / "train.jsonl", folder / "held.jsonl", DatasetConfig())
    here = validate(pages.folder / "train.jsonl", pages.folder / "held.jsonl", DatasetConfig())
    assert report.fingerprint == here.fingerprint
    args = asked(service, train="held.jsonl", held_out="", one=True, packing="never", there=499_999)
    with pytest.raises(InputError, match="500,000"):  # said before an image is fetched
        bring_dataset(args, context)
    one: Any = bring_dataset(asked(service, train="held.jsonl", held_out="", one=True, there=49_999), context)
    assert Packed.above(context.volumes.data / one["root"]) is not None, "the volume would get slow with files"


def test_no_row_leads_out_of_the_dataset(service: str, pages: Dataset, context: Context) -> None:
    client(service).put_object(Bucket="scans", Key="secret.png", Body=png(1))
    for name in ("../secret.png", "/etc/passwd", "http://169.254.169.254/latest", "s3://scans/secret.png"):
        rows = "".join(json.dumps(pages.row(image)) + "\n" for image in ("./images/3.png", name))
        client(service).put_object(Bucket="scans", Key="2024/train.jsonl", Body=rows.encode())
        answer: Any = bring_dataset(asked(service), context)
        with pytest.raises(DatasetError, match="image-"):
            judged(answer, context)
    found = {path.name for path in context.volumes.data.rglob("*.png")}
    assert "secret.png" not in found


def test_what_the_bucket_refuses_says_what_to_do(service: str, pages: Dataset, context: Context) -> None:
    def refused(kind: type[SftError], **more: Any) -> str:
        with pytest.raises(kind) as caught:
            bring_dataset(asked(service, **more), context)
        assert type(caught.value) is kind
        assert "example-secret-key" not in str(caught.value)
        return str(caught.value)

    assert "no such object" in refused(DatasetError, train="none.jsonl")
    assert "no such object" in refused(DatasetError, root="nobucket/2024")
    assert "dataset.endpoint" in refused(InputError, scheme="r2", endpoint="")
    assert "cannot be reached" in refused(TransientError, endpoint="http://127.0.0.1:9")
    assert not list(context.volumes.data.glob("buckets/*/brought.json"))


def test_an_object_that_changes_while_it_is_fetched_is_refused(service: str, pages: Dataset, tmp_path: Path) -> None:
    bucket = Bucket("s3", "scans", service)
    listed = bucket.look("2024/images/2.png")
    client(service).put_object(Bucket="scans", Key=listed.key, Body=png(77))
    with pytest.raises(TransientError, match="changed while it was fetched"):
        bucket.fetch(listed, tmp_path / "2.png", 10**6)
    with pytest.raises(DatasetError, match="larger than allowed"):
        bucket.fetch(bucket.look(listed.key), tmp_path / "2.png", 10)
    assert not (tmp_path / "2.png").exists()
