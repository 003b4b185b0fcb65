"""Backends behind the port: the same answers, a model that is not whole, what is said where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from sft.errors import InputError, IntegrityError
from sft.models.questions import Turn
from sft.models.readers import open_reader, unavailable
from sft.models.second_reader import VARIABLE, interpreter
from sft.smoke import digits, tiny

installed = pytest.mark.skipif(
    interpreter() is None, reason="torch and transformers are not installed: make torch does it"
)
HOW = ({"batch_size": 8, "max_new_tokens": 12}, {"batch_size": 8, "max_new_tokens": 3})  # answers end, or are cut
PADDLE = """
import json, sys
from contextlib import closing
from pathlib import Path
from sft.models.questions import Turn
from sft.models.readers import open_reader
rows = [tuple(Turn(tuple(map(Path, i)), p, a) for i, p, a in turns) for turns in json.loads(sys.argv[2])]
with closing(open_reader("paddleformers", Path(sys.argv[1]), "cpu")) as reader:
    found = [dict(reader.answers(rows, **how)) for how in json.loads(sys.argv[3])]
    said = json.loads(sys.argv[4])
    weighed = [dict(reader.weigh(rows, said, batch_size=size)) for size in (8, 1)]
print("OUT", json.dumps([[one[number] for number in range(len(rows))] for one in (*found, *weighed)]))
"""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    tiny.materialise(folder / "model")
    digits.write_dataset(folder / "data", train_rows=1, held_out_rows=40, seed=3)
    return folder


def pictures(folder: Path) -> list[Path]:
    return sorted((folder / "data" / "held_out").iterdir())


def of_all_kinds(folder: Path) -> list[tuple[Turn, ...]]:
    """One image, several, none; one turn, several; and files that are not what is seen."""
    a, b, c, *rest = pictures(folder)
    with Image.open(a) as image:
        plain = image.convert("RGB")
    note = Image.Exif()
    note[274] = 6
    plain.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=note)
    clear = plain.convert("RGBA")
    clear.putalpha(Image.eval(plain.convert("L"), lambda value: 255 - value))
    clear.save(folder / "clear.png")
    plain.convert("L").convert("I;16").point(lambda value: value * 257).save(folder / "deep.png")
    odd = [folder / f"{name}.png" for name in ("turned", "clear", "deep")]
    return [
        *((Turn((path,), "OCR:"),) for path in (a, *odd, *rest)),
        (Turn((a, b), "OCR:"),),
        (Turn((a, c), "OCR:"),),
        (Turn((a,), "OCR:", "12"), Turn((b,), "OCR:")),
        (Turn((a,), "OCR:", "12"), Turn((), "OCR:")),
        (Turn((a, b), "OCR:", "1 2"), Turn((), "again", "3"), Turn((c,), "OCR:")),
        (Turn((), "no image"),),
    ]


@installed
def test_both_backends_give_the_same_answers_to_rows_of_all_kinds(material: Path) -> None:
    rows = of_all_kinds(material)
    plain = [[[list(map(str, turn.images)), turn.prompt, turn.answer] for turn in turns] for turns in rows]
    said = [str(number)[::-1] * (1 + number % 4) for number in range(len(rows))]
    asked = [json.dumps(one) for one in (plain, HOW, said)]
    command = [sys.executable, "-c", PADDLE, str(material / "model"), *asked]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "OUT" in process.stdout, process.stderr[-3000:]
    with closing(open_reader("transformers", material / "model", "cpu")) as reader:
        theirs = [dict(reader.answers(rows, **how, lengths=[1] * len(rows))) for how in HOW]
        assert set(reader.versions) == {"torch", "transformers"}
        weighed = dict(reader.weigh(rows, said, batch_size=8))
        own = dict(reader.weigh(rows, [theirs[0][number].text for number in range(len(rows))], batch_size=8))
    found = [[list(one[number]) for number in range(len(rows))] for one in theirs]
    *answers, ours, one_by_one = json.loads(process.stdout.split("OUT", 1)[1])
    assert found == answers
    for number in range(len(rows)):
        assert weighed[number] == pytest.approx(ours[number], abs=1e-3), "both weigh alike"
        assert ours[number] == pytest.approx(one_by_one[number], abs=1e-3), "whatever stands beside it"
        assert own[number].odds < 1e-3 or theirs[0][number].cut, "nothing is likelier than what it says itself"
        assert own[number].cost < weighed[number].cost or found[0][number][0] == said[number]
    assert max(weight.odds for weight in weighed.values()) > 3
    assert {cut for texts in found for _, cut in texts} == {True, False}
    assert len({text for text, _ in found[0]}) > 10


@installed
def test_a_model_that_lacks_weights_is_no_model(material: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tiny.materialise(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    weights = load_file(str(path))
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, str(path), metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=r"finds no weight .*up_proj.*evaluate\.backend=paddleformers"):
        open_reader("transformers", tmp_path / "model", "cpu")


def test_where_it_is_not_installed_it_says_what_installs_it(material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, sys.executable)  # it has no torch
    with pytest.raises(InputError, match=r"No module named 'torch'.*run make torch"):
        open_reader("transformers", material / "model", "cpu")
    monkeypatch.setenv(VARIABLE, "")
    assert "run make torch" in unavailable("transformers")
    assert unavailable("paddleformers") == ""
    with pytest.raises(InputError, match="run make torch"):
        open_reader("transformers", material / "model", "cpu")
