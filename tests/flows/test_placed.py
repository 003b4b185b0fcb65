"""Rows that lie on the data volume are validated there, and the run goes on with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from prefect import flow

from compute.local import LocalCompute
from flows import fine_tune
from runs.dataset import limits_for
from sft.config import RunConfig, load
from sft.dataset.packing import Amount
from sft.dataset.validate import validate
from sft.errors import DatasetError
from sft.jobs.placed_rows import DatasetPlace
from tests.conftest import Dataset

pytestmark = pytest.mark.usefixtures("prefect_server", "one_reader", "one_look")


def configuration(*more: str) -> RunConfig:
    files = [f"dataset.{key}=volume://pages/lines/{key}.jsonl" for key in ("train", "held_out", "dev")]
    return load("smoke", ["dataset.digits=null", "dataset.containers=3", *files, *more]).config


def placed(compute: LocalCompute) -> Dataset:
    data = Dataset(compute.volumes.data / "pages" / "lines")
    for name, shades in (("train", range(40)), ("held_out", range(50, 56)), ("dev", range(60, 64))):
        data.write(f"{name}.jsonl", [data.row(data.image(f"images/{n}.png", n), str(n)) for n in shades])
    return data


@flow
def dataset_alone(config: RunConfig) -> tuple[DatasetPlace, Amount]:
    return fine_tune.dataset(config, LocalCompute(Path("state")))


def test_the_place_is_that_of_a_dataset_that_was_validated_here(home: Path) -> None:
    compute, config = LocalCompute(home / "state"), configuration()
    data = placed(compute)
    place, amount = dataset_alone(config)
    paths = {key: data.folder / f"{key}.jsonl" for key in ("train", "held_out", "dev")}
    report = validate(paths["train"], paths["held_out"], config.dataset, limits_for(config, compute), dev=paths["dev"])
    assert (place.root, place.train, place.dev, place.fingerprint) == (
        *("pages/lines", "train.jsonl", "dev.jsonl"),
        report.fingerprint,
    )
    assert amount == report.train.amount
    calls = [json.loads(path.read_text())["job"] for path in compute.calls.glob("*/request.json")]
    assert sorted(calls) == ["download_model", "merge_scans", *["scan_rows"] * 3]

    data.write("train.jsonl", [data.row("gone.png")])
    with pytest.raises(DatasetError, match="image-missing"):
        dataset_alone(config)


def test_a_bucket_is_brought_and_validated_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "example-secret-key")):
        monkeypatch.setenv(name, value)
    compute, server = LocalCompute(home / "state"), ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="scans")
        folder = placed(LocalCompute(home / "elsewhere")).folder
        for path in folder.rglob("*.*"):
            client.upload_file(str(path), "scans", path.relative_to(folder).as_posix())
        files = [f"dataset.{key}=s3://scans/{key}.jsonl" for key in ("train", "held_out", "dev")]
        given = [*files, f"dataset.endpoint=http://{host}:{port}", "dataset.containers=2"]
        config = load("smoke", ["dataset.digits=null", *given]).config
        first = dataset_alone(config)
        assert dataset_alone(config) == first
    finally:
        server.stop()
    calls = [json.loads(path.read_text())["job"] for path in compute.calls.glob("*/request.json")]
    assert sorted(calls) == ["bring_dataset", "bring_dataset", "download_model", "merge_scans", *["scan_rows"] * 2]
    assert (compute.volumes.data / first[0].root / first[0].dev).is_file()
    kept = [path for path in home.rglob("*") if path.is_file() and b"example-secret-key" in path.read_bytes()]
    assert not kept, "a secret was written down"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": "volume://a/b.jsonl"}, "dataset.held_out is missing"),
        ({"train": "volume://a/b.jsonl", "held_out": "c.jsonl"}, "without user, query"),
        ({"train": "b.jsonl", "held_out": "s3://a/c.jsonl"}, "lies elsewhere than dataset.train"),
        ({"train": "volume://a/../b.jsonl", "held_out": "volume://a/c.jsonl"}, "without user, query"),
        ({"train": "s3://key:word@a/b.jsonl", "held_out": "s3://a/c.jsonl"}, "without user, query"),
        ({"train": "s3://a/b.jsonl", "held_out": "s3://c/d.jsonl"}, "one bucket"),
        ({"train": "s3://a/b.csv", "held_out": "s3://a/c.jsonl"}, "no .jsonl file"),
        ({"train": "volume://a/b.jsonl", "held_out": "volume://a/b.jsonl"}, "one file"),
        ({"train": "hf://name"}, "hf://OWNER/NAME@REVISION"),
        ({"train": "hf://o/n", "held_out": "x.jsonl"}, "leave it out"),
    ],
)
def test_addresses_are_checked_before_anything_starts(given: dict[str, Any], said: str) -> None:
    from sft.errors import ConfigError

    with pytest.raises(ConfigError, match=said):
        load("smoke", ["dataset.digits=null", *(f"dataset.{key}={value}" for key, value in given.items())])
