"""A model goes to the Hub through the real client: private, whole, with a card; again, only what changed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sft.errors import InputError, IntegrityError, TransientError
from sft.families import V0_9B
from sft.jobs.evaluate import compare
from sft.metrics import Normalisation
from sft.models.heard import judge
from sft.models.held_out import HeldOutRow
from sft.report.publishing import model_card, publish
from sft.store import records
from tests.support.hub_server import Hub, hub_of

# The Hub's client sends LFS files through a call that httpx deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of("team/receipts") as server:
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)  # the older way, which all Hubs know
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        server.token = "hf_secret"
        yield server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"w" * 5000)
    (folder / "trainer_state.json").write_text("{}")
    return folder


def send(folder: Path, *, public: bool = False) -> str:
    return publish(folder, records.manifest(folder), "team/receipts", "# card", public=public, message="Training 1")


def test_what_was_evaluated_is_sent_and_is_private(hub: Hub, model: Path) -> None:
    assert send(model) == f"{hub.url}/team/receipts"
    assert hub.private is True
    assert hub.files == {"config.json": b"{}", "model.safetensors": b"w" * 5000, "README.md": b"# card"}
    assert hub.messages == ["Training 1"]
    sent = hub.requests.total()
    (model / "config.json").write_text('{"a": 1}')
    send(model)
    assert hub.files["config.json"] == b'{"a": 1}'
    assert sum(n for request, n in hub.requests.items() if request.startswith("PUT")) == 1, "the weights are there"
    assert hub.requests.total() > sent


def test_public_has_to_be_asked_for(hub: Hub, model: Path) -> None:
    send(model, public=True)
    assert hub.private is False


def test_a_damaged_model_and_a_bad_name_are_not_sent(hub: Hub, model: Path) -> None:
    files = records.manifest(model)
    (model / "config.json").write_text("torn")
    with pytest.raises(IntegrityError, match="damaged"):
        publish(model, files, "team/receipts", "", public=False, message="m")
    with pytest.raises(InputError, match="owner/name"):
        publish(model, records.manifest(model), "receipts", "", public=False, message="m")
    assert hub.files == {}


def test_a_refused_token_says_what_to_do(hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(InputError, match="HF_TOKEN") as caught:
        send(model)
    assert "hf_other" not in str(caught.value)


def test_an_upload_that_is_cut_can_be_tried_again_and_shows_nothing_until_it_is_whole(hub: Hub, model: Path) -> None:
    hub.refuse_objects = True
    with pytest.raises(TransientError, match="the upload was cut"):
        send(model)
    assert hub.files == {}, "a commit comes after its files"
    hub.refuse_objects = False
    send(model)
    assert hub.files["model.safetensors"] == b"w" * 5000


def test_the_card_tells_data_metrics_settings_and_licence() -> None:
    rows = [HeldOutRow(i, (Path("x"),), "OCR:", f"text {i}", "ocr") for i in range(30)]
    truths = [row.truth for row in rows]
    scores = compare(judge(rows, {"base": ["x"] * 30, "tuned": truths}, Normalisation()))
    spec = {"learning_rate": 5e-6, "lora_rank": None}
    training: Any = {
        "name": "receipts",
        "identity": "i" * 64,
        "dataset": "d" * 64,
        "base_model": "PaddlePaddle--PaddleOCR-VL@main",
        "steps": 7,
        "engine": "erniekit",
        "engine_version": "1",
        "spec": spec,
    }
    card = model_card(training, scores, base_repo="PaddlePaddle/PaddleOCR-VL", family=V0_9B, licence="apache-2.0")
    assert card.startswith("---\nlicense: apache-2.0\nbase_model: PaddlePaddle/PaddleOCR-VL\n")
    assert "| all | tuned | 30 | 0.000 | 0.000 (0.000–0.000) |" in card
    assert "| learning_rate | 5e-06 |" in card
    assert "lora_rank" not in card
    assert "dddddddddddddddd" in card
