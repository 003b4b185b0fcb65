"""transformers reads a saved model like Paddle does, and a model that it cannot read is a broken export."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sft.errors import IntegrityError
from sft.jobs.check_export import settled
from sft.models import second_reader
from sft.smoke import digits, tiny

ROWS = 64
OURS = """
import json, sys
from pathlib import Path
from sft.models.recognition import Recogniser
rows = [(Path(image), "OCR:") for image in sys.argv[2:]]
read = dict(Recogniser(Path(sys.argv[1]), "cpu").read(rows, batch_size=16, max_new_tokens=16))
print("OUT", json.dumps([read[number] for number in range(len(rows))]))
"""
installed = pytest.mark.skipif(
    second_reader.interpreter() is None, reason="torch and transformers are not installed: make torch does it"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny.materialise(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    digits.write_dataset(tmp_path / "data", train_rows=1, held_out_rows=ROWS, seed=3)
    return sorted((tmp_path / "data" / "held_out").iterdir())


def read(model: Path, images: list[Path]) -> second_reader.Reading:
    rows = [(image, "OCR:") for image in images]
    return second_reader.read(model, rows, device="cpu", batch_size=16, max_new_tokens=16)


@installed
def test_both_readers_give_the_same_answers_and_end_them(model: Path, images: list[Path]) -> None:
    """The small files decide where an answer ends: without its id transformers reads on, and nothing is equal."""
    with Image.open(images[0]) as image:  # a scan that lies on its side, as a camera's note says
        turned, note = image.convert("RGB").transpose(Image.Transpose.ROTATE_90), Image.Exif()
    note[274] = 6
    turned.save(images[0], exif=note)
    command = [sys.executable, "-c", OURS, str(model), *map(str, images)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "OUT" in process.stdout, process.stderr[-3000:]
    ours = json.loads(process.stdout.split("OUT", 1)[1])
    found = read(model, images)
    assert found.texts == ours
    assert all(text.isdigit() for text in ours)
    assert (found.missing, found.unexpected) == ([], [])
    assert set(found.versions) == {"torch", "transformers"}
    for name in ("config.json", "generation_config.json"):  # as ERNIEKit and PaddleFormers leave them
        values = json.loads((model / name).read_text())
        del values["eos_token_id"]
        (model / name).write_text(json.dumps(values))
    assert [text for text, right in zip(read(model, images[:4]).texts, ours) if text == right] == []


@installed
def test_a_model_that_transformers_cannot_load_is_refused_with_its_reason(model: Path, images: list[Path]) -> None:
    path = model / "tokenizer_config.json"
    values = json.loads(path.read_text())
    del values["image_token"]  # what the tiny base itself lacked
    path.write_text(json.dumps(values))
    with pytest.raises(IntegrityError, match=r"transformers cannot read with it: .*image_token"):
        read(model, images[:1])


def test_where_it_is_not_installed_it_says_what_installs_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(second_reader.VARIABLE, "")
    assert second_reader.interpreter() is None
    with pytest.raises(second_reader.NotInstalled, match="run make torch"):
        read(model, [])
    record: Any = {"problems": [], "transformers": {"unchecked": "run make torch"}}
    assert settled(record), "nothing could be added"
    monkeypatch.setenv(second_reader.VARIABLE, sys.executable)  # it has no torch
    assert not settled(record), "it could look now"
    assert settled({"problems": [], "rows": 1, "equal": 1}), "a check of before there was a second reader"
    with pytest.raises(second_reader.NotInstalled, match="no torch or transformers: run make torch"):
        read(model, [])
