"""README's commands, as a newcomer types them: each line of its code blocks, with the values that stand there.

Modal is the stand-in server, the Hub another; what cannot run on this machine is in ``ELSEWHERE`` or ``ENDS`` with the
reason. A command that is in no list has to end well.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from prefect.settings import get_current_settings

from sft.dataset.remote import local_name
from sft.smoke.tiny import CHAT_TEMPLATE
from sft.training.wheels import WHEELS
from tests.support.hub_server import hub_of
from tests.support.modal_runs import environment, serving
from tests.support.mounting import CAN_MOUNT

pytestmark = pytest.mark.skipif(not CAN_MOUNT, reason="unshare --mount is not permitted here: no volumes")
README = Path(__file__).parents[2] / "README.md"
BIN = Path(sys.executable).parent
# Commands that are not run here, by how they begin, and why.
ELSEWHERE = {
    "make ": "test_end_to_end.py runs what make demo runs; make test runs this",
    ".venv/bin/modal token new": "opens a browser",
    ".venv/bin/prefect ": "test_deployments.py runs them against a real server",
    ".venv/bin/sft run smoke": "test_end_to_end.py",
    ".venv/bin/sft tensorboard": "serves until Ctrl-C; test_tensorboard.py",
}
# Commands that cannot end well here: how they begin, the exit code, what they say. The reason stands beside each.
ENDS = (
    (".venv/bin/sft doctor full", 1, "FAILED  cuda"),  # no GPU
    (
        ".venv/bin/sft evaluate 0.9B",
        2,
        "the Hub has no such model, or shows it to no stranger (found PaddlePaddle/PaddleOCR-VL-1.6)",
    ),  # the stand-in for the Hub has one model
    (".venv/bin/sft doubtful", 2, "there is no champion yet"),  # nothing was trained
    (".venv/bin/sft run full --set", 1, "trainer cannot be started"),  # ERNIEKit lies in its image alone
    (".venv/bin/sft plan full", 2, "does not exist"),  # data/train.jsonl is the reader's
    (".venv/bin/sft run full --detach", 2, "does not exist"),  # the same
    (".venv/bin/sft run full --hosted", 2, "does not exist"),  # the same
    (".venv/bin/sft cancel", 2, "no such training runs"),  # none runs
    (".venv/bin/sft infer", 2, "no champion yet"),  # nothing was trained
    (".venv/bin/sft promote full IDENTITY", 2, "no finished training"),  # the reader's
    (".venv/bin/sft publish full OWNER/NAME", 2, "no champion yet"),
)
# The receipts come after what they need: "(below)".
SECTIONS = ("Your own pages", "On a GPU at Modal", "Your own receipts in five commands", "Every day")


def commands(section: str) -> list[str]:
    """The commands of a section's code blocks, without their comments."""
    text = README.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith(("make ", ".venv/"))]


@pytest.fixture
def place(home: Path, one_look: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a newcomer has it: the environment, receipts and scans with their texts, a PDF."""
    (home / ".venv").symlink_to(BIN.parent)
    for folder in ("receipts", "scans", "pages"):
        (home / folder).mkdir()
        for number in range(12):
            Image.effect_noise((96, 32), number + 9).save(home / folder / f"{number}.png")
            (home / folder / f"{number}.txt").write_text(f"total {number}")
    Image.new("L", (96, 32), 255).save(home / "new.pdf")
    return home


def put_sample(volume: Path) -> None:
    """All that ``sft sample`` fetches has arrived already: the host is not reachable from here."""
    folder = volume / "samples" / "bengali"
    for name, shades in (("train", range(12)), ("held_out", range(20, 24))):
        rows = []
        for shade in shades:
            url = f"https://paddleformers.bj.bcebos.com/images/{shade}.png"
            target = folder / local_name(url)
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (56, 28), shade).save(target)
            texts = [{"text": "OCR:", "tag": "mask"}, {"text": f"text {shade}", "tag": "no_mask"}]
            rows.append(json.dumps({"image_info": [{"image_url": url}], "text_info": texts}))
        (folder / f".{name}.source.jsonl").write_text("\n".join(rows))


def test_readmes_commands_do_what_it_says(
    place: Path, prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path / "server") as server, hub_of("PaddlePaddle/PaddleOCR-VL") as hub:
        hub.files = {
            "config.json": b"{}",
            "chat_template.jinja": CHAT_TEMPLATE.encode(),
            "model.safetensors": b"w" * 5000,
        }
        monkeypatch.setenv("HF_ENDPOINT", hub.url)  # for the containers, too
        variables = {**environment(server, place), "PREFECT_API_URL": str(get_current_settings().api.url)}
        variables.pop("HF_TOKEN", None)
        put_sample(server.volumes_folder / "vo-paddleocr-vl-data")
        for wheel in WHEELS.values():  # neither is the wheels' host reachable
            (place / wheel.name).write_bytes(b"w")
            subprocess.run([BIN / "sft", "upload-wheel", wheel.name], cwd=place, env=variables, check=True)
        said: dict[str, str] = {}
        for command in (command for section in SECTIONS for command in commands(section)):
            if command.startswith(tuple(ELSEWHERE)):
                continue
            process = subprocess.run(shlex.split(command), cwd=place, env=variables, capture_output=True, text=True)
            said[command] = process.stdout + process.stderr
            code, text = next(((c, t) for start, c, t in ENDS if command.startswith(start)), (0, ""))
            assert (process.returncode, text in said[command]) == (code, True), f"{command}\n{said[command]}"
            if "modal secret create" in command:  # from now on with the token that README shows, which is none
                shutil.rmtree(server.volumes_folder / "vo-paddleocr-vl-models" / "PaddlePaddle--PaddleOCR-VL@main")
    doctor, first, own, receipts = (
        text for command, text in said.items() if "doctor" in command or "run full --set" in command
    )
    client_side = {line[8:24].strip() for line in doctor.splitlines() if line.startswith("ok")}
    assert {"token", "set-up app", "GPU app", "volumes", "secret", "up to date"} <= client_side
    assert "does not know the token" not in first
    assert "going on without it" in own
    assert all("base model PaddlePaddle--PaddleOCR-VL@main" in text for text in (first, own, receipts))
    assert [start for start, *_ in ENDS if not any(c.startswith(start) for c in said)] == [], "README has them no more"
