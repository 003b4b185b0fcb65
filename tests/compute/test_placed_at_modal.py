"""Rows on the data volume are validated by containers of Modal's own entrypoint, against the stand-in server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import get_current_settings

from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate
from tests.conftest import Dataset
from tests.support import modal_runs
from tests.support.modal_runs import environment
from tests.support.modal_server import ModalServer
from tests.support.mounting import CAN_MOUNT

pytestmark = [
    pytest.mark.skipif(not CAN_MOUNT, reason="unshare --mount is not permitted here: volumes cannot be mounted"),
    pytest.mark.usefixtures("prefect_server"),
]

BODY = """
import json, sys
from pathlib import Path
from prefect import flow
from compute.modal import ModalCompute
from flows import fine_tune
from modal_infra.app import setup
from sft.config import load
from sft.errors import SftError
setup.deploy()
files = [f"dataset.{key}=volume://pages/{key}.jsonl" for key in ("train", "held_out")]
given = ["compute=modal", "modal.gpu=none", "dataset.digits=null", "dataset.containers=3", *files]
config = load("smoke", given).config
compute = ModalCompute(config)
folder = Path(sys.argv[1])
pairs = [(p, f"pages/{p.relative_to(folder).as_posix()}") for p in folder.rglob("*") if p.is_file()]
compute.put_all("data", pairs)
@flow
def alone():
    return fine_tune.dataset(config, compute)
place, amount = alone()
left = [file.path for file in compute.list("data", "/") if ".parts" in file.path]
print("OUT", json.dumps([place.root, place.fingerprint, amount.rows, left]))
compute.put("data", folder.parent / "broken.jsonl", "pages/train.jsonl")
try:
    alone()
except SftError as error:
    print("OUT", json.dumps([type(error).__name__, str(error)]))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModalServer]:
    with modal_runs.serving(tmp_path / "server") as server:
        yield server


def test_containers_validate_what_lies_on_the_volume(server: ModalServer, home: Path) -> None:
    data = Dataset(home / "pages")
    for name, shades in (("train", range(40)), ("held_out", range(50, 56))):
        data.write(f"{name}.jsonl", [data.row(data.image(f"images/{n}.png", n), str(n)) for n in shades])
    Dataset(home).write("broken.jsonl", [data.row("gone.png")] * 3)
    variables = {**environment(server, home), "PREFECT_API_URL": str(get_current_settings().api.url)}
    command = [sys.executable, "-c", BODY, str(data.folder)]
    process = subprocess.run(command, cwd=home, env=variables, capture_output=True, text=True, timeout=240)
    assert process.stdout.count("OUT ") == 2, process.stdout + process.stderr
    found, refused = (json.loads(line.removeprefix("OUT ")) for line in process.stdout.splitlines() if "OUT" in line)
    report = validate(data.folder / "train.jsonl", data.folder / "held_out.jsonl", DatasetConfig())
    assert found == ["pages", report.fingerprint, 40, []]
    assert refused[0] == "DatasetError"
    assert "image-missing (3 ×)" in refused[1]
    assert "/data/pages/train.jsonl:1" in refused[1]
