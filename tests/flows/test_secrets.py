"""Secrets of the environment appear in nothing that a run leaves: no log, parameter, artifact, record or file."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.test_cli import SFT
from tests.support.modal_server import ModalServer

SECRETS = {
    "HF_TOKEN": "hf_PLANTEDaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "MODAL_TOKEN_ID": "ak-PLANTEDbbbbbbbbbbbbbb",
    "MODAL_TOKEN_SECRET": "as-PLANTEDcccccccccccccc",
    "AWS_SECRET_ACCESS_KEY": "PLANTEDddddddddddddddddddd",
    "MLFLOW_TRACKING_TOKEN": "PLANTEDeeeeeeeeeeeeeeeeeeee",
    "WANDB_API_KEY": "PLANTEDffffffffffffffffffffffffffffffffffff",
    "SWANLAB_API_KEY": "PLANTEDgggggggggggggggg",
}
pytestmark = pytest.mark.usefixtures("one_reader", "one_look")
SMALL = ("dataset.digits.train_rows=32", "dataset.digits.held_out_rows=4", "train.max_steps=4", "train.save_steps=2")
TRACKED = ("--set", "track.mlflow=http://127.0.0.1:9", "--set", "track.wait=0.2")  # nobody listens there


def sft(home: Path, modal: str, *args: str) -> subprocess.CompletedProcess[str]:
    """A command with the secrets around it, and Prefect's own database in the test's folder."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {**SECRETS, "SFT_HOME": str(home / "state"), "PREFECT_HOME": str(home / "prefect")}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "DEBUG"}
    environment |= {"MODAL_SERVER_URL": modal, "PYTHONWARNINGS": "ignore"}
    return subprocess.run([SFT, *args], cwd=home, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture
def modal(tmp_path: Path) -> Iterator[str]:
    """The address of a server that refuses every token."""
    server = ModalServer(tmp_path / "server")
    server.state.mkdir()
    server.token_valid = False
    server.start()
    yield server.url
    server.stop()


def test_no_secret_is_left_anywhere(tmp_path: Path, modal: str) -> None:
    small = [part for setting in SMALL for part in ("--set", setting)]
    good = sft(tmp_path, modal, "run", "smoke", *small, *TRACKED)
    assert good.returncode == 0, good.stdout + good.stderr
    failing = sft(
        tmp_path, modal, "run", "smoke", *small, "--set", "train.seed=9", "--set", "train.resume=checkpoint-7"
    )
    assert "no training has such a checkpoint" in failing.stderr
    Image.new("L", (56, 28)).save(tmp_path / "a.png")
    turn = [{"text": "OCR:", "tag": "mask"}, {"text": "1", "tag": "no_mask"}]
    for name in ("t.jsonl", "h.jsonl"):
        (tmp_path / name).write_text(json.dumps({"image_info": [{"image_url": "a.png"}], "text_info": turn}) + "\n")
    data = ("--set", "dataset.train=t.jsonl", "--set", "dataset.held_out=h.jsonl")
    refused = sft(tmp_path, modal, "run", "full", *data)
    assert "modal token new" in refused.stderr
    outputs = [good, failing, refused, sft(tmp_path, modal, "doctor", "full"), sft(tmp_path, modal, "history")]
    assert not [text for o in outputs for text in (o.stdout, o.stderr) if "PLANTED" in text]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if path.name.startswith("prefect.db")], "Prefect's database is not among the files"
    assert [path for path in files if path.name == "log.txt"]
    leaked = [path for path in files if b"PLANTED" in path.read_bytes()]
    assert not leaked
