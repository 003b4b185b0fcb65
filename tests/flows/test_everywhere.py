"""Every set of a run lies elsewhere, its images packed: one training, read, compared and searched from there."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from prefect import flow

from compute.local import LocalCompute
from flows import fine_tune
from flows.doubtful import Search, doubtful
from flows.evaluate_models import Comparison, evaluate_models
from runs.placed import REPORTS
from runs.results import RunResult
from sft.config import RunConfig, load
from sft.dataset.packing import Amount
from sft.dataset.reading import read_samples
from sft.dataset.validate import validate
from sft.errors import ConfigError, DatasetError
from sft.jobs.placed_rows import DatasetPlace
from sft.smoke import digits
from sft.store import records
from tests.support.hub_server import hub_of

pytestmark = pytest.mark.usefixtures("prefect_server", "one_look")
REPO = "team/receipts"
LITTLE = ["train.max_steps=12", "train.save_steps=12", "train.logging_steps=4", "evaluate.batch_size=5"]
GENERAL = f"hf://{REPO}@main?split=train&image=picture&text=words"


def rows_of(folder: Path, name: str, *, seed: int, rows: int) -> Path:
    """Lines of digits in a folder of their own; the file."""
    digits.write_dataset(folder, train_rows=rows, held_out_rows=12, seed=seed)
    (folder / "train.jsonl").rename(folder / f"{name}.jsonl")
    return folder / f"{name}.jsonl"


def parquet(path: Path) -> bytes:
    rows = []
    for sample in read_samples(path, "erniekit"):
        content = (path.parent / sample.images[0][0]).read_bytes()
        rows.append({"picture": {"bytes": content, "path": Path(sample.images[0][0]).name}, "words": sample.answer})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in (("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "example-secret-key")):
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def sent(service: str, folder: Path, prefix: str) -> None:
    client = boto3.client("s3", endpoint_url=service, region_name="us-east-1")
    client.create_bucket(Bucket="scans")
    for path in folder.rglob("*.*"):
        client.upload_file(str(path), "scans", f"{prefix}/{path.relative_to(folder).as_posix()}")


def laid_out(home: Path, service: str) -> dict[str, Path]:
    """Training and held-out set and a guard set in a bucket, dev on the data volume; the sets as files of here."""
    main = rows_of(home / "here" / "main", "train", seed=1, rows=64)
    choose = rows_of(home / "here" / "dev", "choose", seed=2, rows=8)
    keeps = rows_of(home / "here" / "guard", "keeps", seed=3, rows=24)
    general = rows_of(home / "here" / "general", "general", seed=4, rows=40)
    sent(service, main.parent, "digits")
    sent(service, keeps.parent, "guard")
    shutil.copytree(choose.parent, LocalCompute(home / "state").volumes.data / "choosing")
    return {
        "train": main,
        "held_out": main.with_name("held_out.jsonl"),
        "dev": choose,
        "guard": keeps,
        "general": general,
    }


def configuration(service: str, *more: str) -> RunConfig:
    files = [
        *("dataset.digits=null", "dataset.train=s3://scans/digits/train.jsonl"),
        *("dataset.held_out=s3://scans/digits/held_out.jsonl", "dataset.dev=volume://choosing/choose.jsonl"),
        *(f"dataset.mix.general.path={GENERAL}", "dataset.mix.general.share=0.25"),
        *("dataset.guard.keeps=s3://scans/guard/keeps.jsonl", f"dataset.endpoint={service}"),
        *("dataset.pack=always", "dataset.containers=1"),
    ]
    return load("smoke", [*files, *LITTLE, "promote.mode=never", *more]).config


@pytest.mark.usefixtures("one_reader")
def test_a_run_whose_sets_all_lie_elsewhere(home: Path, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here, compute = laid_out(home, service), LocalCompute(home / "state")
    with hub_of(REPO, "dataset") as hub:
        hub.files["data/train-00000-of-00001.parquet"] = parquet(here["general"])
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        config = configuration(service)
        first = fine_tune.fine_tune(config)
        assert isinstance(first, RunResult)
        record = records.read_record(compute.volumes.run(first.identity)) or {}
        report = validate(
            here["train"], here["held_out"], config.dataset, dev=here["dev"], mix={"general": here["general"]}
        )
        assert record["dataset"] == report.fingerprint, "known by the same as a dataset of this machine"
        assert record["left_out"]["rows"] == 64 + 21, "a quarter of what is trained on is mixed in"
        assert record["chosen"]["of_rows"] == 8, "dev rows have chosen"
        packed = list(compute.volumes.data.rglob("shard-*.tar"))
        assert len(packed) == 3, "the bucket's set, the guard set, the Hub's set"
        images = [path for path in compute.volumes.data.rglob("*.png") if "choosing" not in path.parts]
        assert not images, "nothing is unpacked on the volume"
        (evaluation,) = compute.volumes.run(first.identity).glob("evaluation/*/record.json")
        assert json.loads(evaluation.read_text())["guards"]["keeps"]["rows"] == 24

        compared = evaluate_models(["base", first.identity], "held-out", config=config)
        assert isinstance(compared, Comparison)
        assert (compared.record["rows"], compared.record["title"]) == (12, "held-out")
        (found,) = doubtful(["held-out"], first.identity, config=config)
        assert isinstance(found, Search)
        assert found.record["rows"] == 12
        tasks = json.loads(found.tasks.read_text())
        names = {sample.images[0][0].removeprefix("./") for sample in read_samples(here["held_out"], "erniekit")}
        assert {task["data"]["image"].partition("?d=")[2] for task in tasks} <= names, "under the names of the rows"
        assert not list((compute.volumes.data / ".unpacked").iterdir()), "what was unpacked is gone with its job"
        kept = list((compute.volumes.data / REPORTS).glob("*.json"))
        assert len(kept) == 2, "the guard set's and the held-out rows': with a dev set that may change there is none"


@flow
def dataset_alone(config: RunConfig) -> tuple[DatasetPlace, Amount]:
    return fine_tune.dataset(config, LocalCompute(Path("state")))


def test_files_of_here_with_a_set_that_lies_elsewhere(home: Path) -> None:
    """The small set is one's own, what is not to be unlearned lies on the volume; and the other way round."""
    compute = LocalCompute(home / "state")
    main = rows_of(home / "main", "train", seed=1, rows=40)
    general = rows_of(home / "general", "general", seed=4, rows=40)
    shutil.copytree(general.parent, compute.volumes.data / "general")
    shutil.copytree(main.parent, compute.volumes.data / "main")
    there = [f"dataset.{key}=volume://main/{key}.jsonl" for key in ("train", "held_out")]
    here = [f"dataset.train={main}", f"dataset.held_out={main.with_name('held_out.jsonl')}"]
    share = ["dataset.digits=null", "dataset.mix.general.share=0.2", "dataset.containers=1"]
    places = {}
    for name, files, mixed in (("here", here, "volume://general/general.jsonl"), ("there", there, str(general))):
        config = load("smoke", [*files, *share, f"dataset.mix.general.path={mixed}"]).config
        place, amount = places[name] = dataset_alone(config)
        assert (compute.volumes.data / place.root / place.train).is_file()
        assert (compute.volumes.data / place.root / place.mix["general"].file).is_file()
        assert amount.rows == 50
    assert places["here"][0].fingerprint == places["there"][0].fingerprint
    # A row of the held-out set among what is mixed in is found, though one lies here and the other there.
    row = json.loads(main.with_name("held_out.jsonl").read_text().splitlines()[0])
    shutil.copy(main.parent / row["image_info"][0]["image_url"], compute.volumes.data / "general" / "leak.png")
    row["image_info"][0]["image_url"] = "./leak.png"
    with (compute.volumes.data / "general" / "general.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    strict = [*share, "dataset.rules.leak-row=error", "dataset.mix.general.path=volume://general/general.jsonl"]
    config = load("smoke", [*here, *strict]).config
    with pytest.raises(DatasetError, match="leak-"):
        dataset_alone(config)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"guard.keeps": "hf://o/n?rows=5"}, r"dataset.guard.keeps: a set of the Hub is hf://"),
        ({"guard.keeps": "s3://key:word@a/b.jsonl"}, "without user, query"),
        (
            {"mix.general.path": "volume://a/../b.jsonl", "mix.general.share": 0.1},
            "dataset.mix.general.path: use volume",
        ),
        ({"dev": "hf://name"}, "dataset.dev: a set of the Hub"),
        ({"dev": "gs://a/b.csv"}, "no .jsonl file"),
        ({"dev": "hf://o/n?split=a&split=b"}, "dataset.dev: a set of the Hub"),
    ],
)
def test_addresses_of_single_sets_are_checked_first(given: dict[str, Any], said: str) -> None:
    files = {"train": "a/train.jsonl", "held_out": "a/held.jsonl", **given}
    settings = ["dataset.digits=null", *(f"dataset.{key}={value}" for key, value in files.items())]
    with pytest.raises(ConfigError, match=said):
        load("smoke", settings)
