"""The base model through the real huggingface_hub, from a local server that speaks the Hub's API.

Each fetch runs in a process of its own: the library reads HF_ENDPOINT and HF_TOKEN when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_server import COMMIT, Hub, hub_of

REPO = "PaddlePaddle/PaddleOCR-VL"
BODY = """
import json, sys
from pathlib import Path
from sft.errors import to_wire, SftError
from sft.jobs.base import Context
from sft.jobs.download_model import DownloadModelArgs, download_model
from sft.store.volumes import Volumes
volumes = Volumes.below(Path(sys.argv[1])); volumes.make()
args = DownloadModelArgs(source="hub", repo=sys.argv[2], revision=sys.argv[3])
try:
    print("OUT", json.dumps(download_model(args, Context(volumes, "call"))))
except SftError as error:
    print("OUT", json.dumps({"error": to_wire(error)}))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_of(REPO) as hub:
        hub.files = {"config.json": b'{"a": 1}', "sub/x.json": b"{}", "model.safetensors": os.urandom(300_000)}
        yield hub


def fetch(hub: Hub, folder: Path, repo: str = REPO, revision: str = "main", token: str = "") -> dict[str, Any]:
    variables = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    variables |= {"HF_TOKEN": token} if token else {}
    command = [sys.executable, "-c", BODY, str(folder / "volumes"), repo, revision]
    process = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert "OUT" in process.stdout, process.stderr
    assert not token.strip() or token not in process.stdout + process.stderr
    result: dict[str, Any] = json.loads(process.stdout.split("OUT", 1)[1])
    return result


def model(folder: Path) -> Path:
    return folder / "volumes" / "models" / "PaddlePaddle--PaddleOCR-VL@main"


def test_a_snapshot_is_fetched_once_and_pinned_to_its_commit(hub: Hub, tmp_path: Path) -> None:
    record = fetch(hub, tmp_path)
    assert (record["revision"], record["fetched"]) == (COMMIT, True)
    assert {name: (model(tmp_path) / name).read_bytes() for name in hub.files} == hub.files
    assert set(record["files"]) == set(hub.files)
    hub.requests.clear()
    assert fetch(hub, tmp_path)["fetched"] is False
    assert not hub.requests


def test_a_corrupt_file_never_becomes_the_model_and_is_fetched_anew(hub: Hub, tmp_path: Path) -> None:
    hub.corrupt = {"model.safetensors"}
    error = fetch(hub, tmp_path)["error"]
    assert (error["type"], error["where"]) == ("IntegrityError", f"{REPO}/model.safetensors")
    assert not model(tmp_path).exists()
    hub.corrupt = set()
    assert fetch(hub, tmp_path)["fetched"] is True


def test_a_corrupt_small_file_is_found_by_its_git_hash(hub: Hub, tmp_path: Path) -> None:
    hub.corrupt = {"config.json"}
    assert fetch(hub, tmp_path)["error"]["where"] == f"{REPO}/config.json"


def test_a_cut_connection_is_resumed(hub: Hub, tmp_path: Path) -> None:
    hub.cut = {"model.safetensors": [100_000, 50_000]}
    assert fetch(hub, tmp_path)["fetched"] is True
    assert (model(tmp_path) / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"token": "secret", "gated": True}, "InputError", "gated"),
        ({"token": "secret"}, "InputError", "no such model, or the token may not see it"),
        ({"status": 401}, "InputError", "token"),
        ({"status": 500}, "TransientError", "the Hub answers 500"),
        ({"url": "http://127.0.0.1:9"}, "TransientError", "cannot be reached"),
    ],
)
def test_each_refusal_has_its_own_message_and_remedy(
    hub: Hub, tmp_path: Path, change: dict[str, Any], kind: str, said: str
) -> None:
    for key, value in change.items():
        setattr(hub, key, value)
    error = fetch(hub, tmp_path)["error"]
    assert error["type"] == kind, error
    assert said in error["message"]
    assert error["remedy"]
    assert not model(tmp_path).exists()


def test_an_unknown_repository_and_an_unknown_revision_are_told_apart(hub: Hub, tmp_path: Path) -> None:
    assert "base_model.revision" in fetch(hub, tmp_path, revision="v9")["error"]["remedy"]
    assert "base_model.repo" in fetch(hub, tmp_path, repo="PaddlePaddle/None")["error"]["remedy"]


@pytest.mark.parametrize("token", ["hf_xxx", "\n", "hf_…", "any text will do"])
def test_a_token_that_the_hub_does_not_know_stops_no_public_model(hub: Hub, tmp_path: Path, token: str) -> None:
    assert fetch(hub, tmp_path, token=token)["fetched"] is True


def test_a_wrong_token_for_a_private_or_gated_model_says_what_to_do(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_right"
    for hub.gated in (False, True):
        error = fetch(hub, tmp_path, token="hf_wrong")["error"]
        assert (error["type"], "modal secret create" in error["remedy"]) == ("InputError", True)
        assert "does not know the token" in error["message"]


def test_a_token_opens_a_gated_model_and_is_never_printed(hub: Hub, tmp_path: Path) -> None:
    hub.token, hub.gated = "hf_planted_secret", True
    assert fetch(hub, tmp_path, token="hf_planted_secret")["fetched"] is True
