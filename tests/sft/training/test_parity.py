"""A training asks what a reader asks: each trainer's own data pipeline, run here on the tiny model."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from PIL import Image

from sft.config import load
from sft.engines import ENGINES
from sft.engines.base import Command, Engine, Folders, TrainSpec
from sft.errors import IntegrityError, TrainingFailed
from sft.models.second_reader import interpreter
from sft.smoke import digits, tiny
from sft.store import records
from sft.training import kept, parity

LOOKS = "looks"
TODAY = time.strftime("%Y-%m-%d", time.gmtime())
NEWER = "\nAssistant:\n"  # as 1.5 asks


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and a training set with rows of several tasks, of one and two turns."""
    folder = tmp_path_factory.mktemp("parity")
    tiny.materialise(folder / "base")
    digits.write_dataset(folder / "data", train_rows=2, held_out_rows=1, seed=1)
    images = [str(path) for path in sorted((folder / "data" / "train").glob("*.png"))]
    rows = [
        {"messages": turns("OCR:", "12"), "images": images[:1]},
        {"messages": turns("OCR:", "7"), "images": images[1:2]},
        {"messages": turns("Table Recognition:", "<fcel>1<nl>"), "images": images[:1]},
        {"messages": [*turns("OCR:", "12"), *turns("Which digits?", "1 and 2", mark="")], "images": images[:1]},
        {"messages": turns("Total as JSON", '{"total":\u2028"1"}'), "images": images[:1]},
    ]
    # As the job writes them: U+2028 ends no line.
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def turns(prompt: str, answer: str, mark: str = "<image>") -> list[dict[str, str]]:
    return [{"role": "user", "content": mark + prompt}, {"role": "assistant", "content": answer}]


def asked(
    engine_name: str, material: Path, work: Path, base: Path | None = None, **changes: Any
) -> tuple[Engine, TrainSpec, Folders]:
    settings = ["engine=transformers"] if engine_name == "transformers" else []
    engine, spec = ENGINES[engine_name], load("smoke", settings).config.spec(5).model_copy(update=changes)
    folders = Folders(base or material / "base", material / "train.jsonl", work / "out", work / "logs", work / "t.yaml")
    folders.config.write_text(yaml.safe_dump(dict(engine.command(spec, folders, None).config)))
    return engine, spec, folders


def looked_at(
    engine_name: str, material: Path, work: Path, base: Path | None = None, family: str = "tiny", **changes: Any
) -> str:
    engine, spec, folders = asked(engine_name, material, work, base, **changes)
    return parity.before(engine, spec, folders, folders.base_model, family, looks=work / LOOKS, card="cpu")


def sampled(folders: Folders) -> Path:
    return parity.sample(folders.train_file, folders.config.parent / parity.ROWS)


TOKEN_BY_TOKEN = "training and reading agree token by token on 5 rows"
# PaddleFormers trains no empty answer, and such is what the tiny base says for a table, asked as 0.9B is.
SAME = {
    name: f"{TOKEN_BY_TOKEN}, and on what {count} of the base's own answers cost"
    for name, count in (("paddleformers", 2), ("transformers", 3))
}
ENGINE = [
    "paddleformers",
    pytest.param("transformers", marks=pytest.mark.skipif(interpreter() is None, reason="make torch")),
]


@pytest.mark.parametrize("engine", ENGINE)
def test_each_trainer_trains_what_is_asked(engine: str, material: Path, tmp_path: Path) -> None:
    assert looked_at(engine, material, tmp_path) == SAME[engine]


ASKED = """
import pathlib, subprocess, sys
notes, config, rows = map(pathlib.Path, sys.argv[1:])
told = notes.read_text().splitlines()[:1] if notes.exists() else []
if not told:
    look = [sys.executable, "-m", "sft.models.paddle_parity", str(config), str(rows)]
    told = subprocess.run(look, capture_output=True, text=True, check=True).stdout.splitlines()[-1:]
with notes.open("a") as file:
    print(*told, file=file)
print(*told)
"""


class Asked:
    """PaddleFormers, whose pipeline is asked once; what it told is told again, and each time is noted."""

    def __init__(self, folder: Path) -> None:
        self.name, self.notes = "paddleformers", folder / "asked"

    @property
    def times(self) -> int:
        return len(self.notes.read_text().splitlines())

    def parity(self, spec: TrainSpec, folders: Folders) -> Command:
        command = ENGINES[self.name].parity(spec, folders)
        assert command is not None
        argv = (command.argv[0], "-c", ASKED, str(self.notes), str(folders.config))
        return Command(argv, command.environment, {})


def test_what_has_been_looked_at_is_not_looked_at_again(material: Path, tmp_path: Path) -> None:
    data, engine = tmp_path / "data", Asked(tmp_path)
    shutil.copytree(material / "data", data)
    lines = (material / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:1]
    (data / "rows.jsonl").write_text("".join(lines).replace(str(material / "data"), str(data)), encoding="utf-8")

    def look(card: str = "cpu", **changes: Any) -> str:
        _, spec, folders = asked("paddleformers", material, tmp_path, **changes)
        folders = replace(folders, train_file=data / "rows.jsonl")
        base = folders.base_model
        return parity.before(cast(Engine, engine), spec, folders, base, "tiny", looks=tmp_path / LOOKS, card=card)

    first = look()
    assert (
        look() == look(max_steps=99, learning_rate=1e-9) == f"{first} (looked at before an earlier training, {TODAY})"
    )
    assert engine.times == 1
    for path in (tmp_path / LOOKS).iterdir():
        path.write_text("{")  # torn
    assert look() == first
    (image,) = json.loads((data / "rows.jsonl").read_text())["images"]
    Image.open(image).convert("L").point(lambda shade: 255 - shade).save(image)
    look()
    look(max_seq_len=400)
    look(card="H100")
    assert engine.times == 5, "another picture, another setting and another card are looked at"


def test_the_same_rows_and_model_are_the_same_in_another_folder_and_at_another_time(
    material: Path, tmp_path: Path
) -> None:
    """As every test's are, every machine's, and those of a base that is fetched again."""
    _, spec, _ = asked("paddleformers", material, tmp_path)
    keys = []
    for number in range(2):
        place = tmp_path / str(number)
        shutil.copytree(material, place)
        records.write_record(place / "base", {"identity": "x", "finished": float(number)})
        text = (place / "train.jsonl").read_text(encoding="utf-8")
        (place / "train.jsonl").write_text(text.replace(str(material), str(place)), encoding="utf-8")
        rows = parity.sample(place / "train.jsonl", place / "rows.jsonl")
        keys.append(kept.key("paddleformers", spec, sys.executable, place / "base", rows, "cpu"))
    assert keys[0] == keys[1] != ""


def test_an_image_that_is_gone_is_for_the_look_to_tell(material: Path, tmp_path: Path) -> None:
    _, spec, folders = asked("paddleformers", material, tmp_path)
    row = json.loads((material / "train.jsonl").read_bytes().splitlines()[0])
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({**row, "images": [str(tmp_path / "gone.png")]}) + "\n")
    assert kept.key("paddleformers", spec, sys.executable, folders.base_model, rows, "cpu") == ""
    kept.write(tmp_path / LOOKS, "", "nothing")
    assert kept.read(tmp_path / LOOKS, "") == ""
    assert not (tmp_path / LOOKS).exists()


def test_the_arguments_of_a_gpu_profile_are_looked_at_without_a_gpu(material: Path, tmp_path: Path) -> None:
    spec = load("lora", ["dataset.train=a", "dataset.held_out=b"]).config.spec(5).model_copy(update={"lora_rank": None})
    assert spec.device == "gpu"
    changes: dict[str, Any] = {"device": "gpu", "precision": spec.precision, "max_seq_len": spec.max_seq_len}
    said = looked_at("paddleformers", material, tmp_path, **changes)
    assert said.startswith(f"{TOKEN_BY_TOKEN}; what the base's own answers cost was not compared: ")
    assert not (tmp_path / LOOKS).exists(), "half a look is not kept"


def test_the_augmentation_changes_images_and_nothing_else(material: Path, tmp_path: Path) -> None:
    assert looked_at("paddleformers", material, tmp_path, augment="template") == SAME["paddleformers"]


def test_the_prompt_of_another_family_is_found_before_the_training(material: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as told:
        looked_at("paddleformers", material, tmp_path, asks=NEWER)
    said = str(told.value)
    assert "training and reading differ at token" in said
    assert r"n t : \n 1 2 </s>]" in said
    assert r"n t :   1 2 </s>]" in said
    assert "base_model.family" in said
    assert not (tmp_path / LOOKS).exists()


def test_a_base_of_the_newer_kind_is_trained_with_its_own_prompt(material: Path, tmp_path: Path) -> None:
    base = tmp_path / "newer"
    shutil.copytree(material / "base", base)
    text = (base / "chat_template.jinja").read_text()
    (base / "chat_template.jinja").write_text(text.replace("Assistant: ", "Assistant:{{ '\\n' }}"))
    assert looked_at("paddleformers", material, tmp_path, base=base, family="1.5", asks=NEWER) == SAME["transformers"]


ROW = {
    "trained": [1, 9, 9, 2, 5, 3],
    "learned": [False] * 4 + [True] * 2,
    "asked": [1, 9, 9, 2],
    "answer": [5],
    "end": 3,
}
TOKENS = {"1": "<s>", "2": "\n", "3": "</s>", "5": "7", "9": "<image>", "8": " "}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"trained": [1, 9, 9, 8, 5, 3]}, r"differ at token 4: training has [<s> <image> <image>   7 </s>], a reader "),
        ({"trained": [1, 9, 9, 2, 5]}, "differ at token 6"),
        ({"trained": [1, 9, 2, 5, 3]}, "differ at token 3"),
        ({"learned": [False] * 4 + [True, False]}, "the answer's end is not learned"),
        ({"learned": [False] * 5 + [True]}, "a part of the answer is not learned"),
        ({"learned": [True] * 6}, "the prompt is learned"),
    ],
)
def test_what_differs_is_said_with_both_sides(change: dict[str, Any], said: str) -> None:
    found = parity.difference({**ROW, "turns": 1, **change}, TOKENS, None)
    assert (said in found) if said else found == ""


# Faults that leave every token as it was: the images of PaddleFormers' plugin are turned, and the engine transformers
# counts on where the rows and columns of an image are.
TURNED = """
from paddleformers.datasets.template.mm_plugin import PaddleOCRVLPlugin
PaddleOCRVLPlugin.image_augmentation = lambda self, image: image.rotate(180)
from sft.models import paddle_parity
paddle_parity.main()
"""
COUNTED = """
import torch
from sft.torch_trainer import parity
from sft.torch_trainer.rows import Encoder
Encoder._positions = lambda self, ids, grid: torch.arange(len(ids)).expand(3, -1)
parity.main()
"""


@pytest.mark.parametrize(("engine_name", "fault"), [("paddleformers", TURNED), ("transformers", COUNTED)])
def test_a_row_that_is_seen_otherwise_is_found_by_what_it_costs(
    engine_name: str, fault: str, material: Path, tmp_path: Path
) -> None:
    if engine_name == "transformers" and interpreter() is None:
        pytest.skip("make torch")
    engine, spec, folders = asked(engine_name, material, tmp_path)
    command = engine.parity(spec, folders)
    assert command is not None
    python, config = command.argv[0], command.argv[-1]
    with pytest.raises(IntegrityError, match=r"the base model's own answer '.+' costs [0-9.]+ nats a token") as told:
        parity.check(Command((python, "-c", fault, config), command.environment, {}), spec, sampled(folders))
    assert "sees a row otherwise than a reader" in str(told.value)


ANSWER = {"prompt": "OCR:", "answer": "12", "read": 0.1}


@pytest.mark.parametrize(
    ("cost", "changes", "wrong"),
    [
        (0.1000005, {}, False),
        (0.2, {}, True),
        (0.05, {}, True),
        (float("nan"), {}, True),
        (0.2, {"precision": "bf16"}, False),
        (0.6, {"precision": "bf16"}, True),
        (0.5, {"precision": "bf16", "four_bit": True}, False),
        (0.7, {"precision": "bf16", "four_bit": True}, True),
    ],
)
def test_how_far_apart_costs_may_be_follows_from_what_is_computed_in(
    cost: float, changes: dict[str, Any], wrong: bool
) -> None:
    spec = load("smoke", []).config.spec(5).model_copy(update=changes)
    assert bool(parity.dearer({**ANSWER, "trained": cost}, spec)) is wrong


def test_a_pipeline_that_cannot_be_asked_says_so(material: Path, tmp_path: Path) -> None:
    _, spec, folders = asked("paddleformers", material, tmp_path)
    command = Command((sys.executable, "-c", "raise SystemExit('no paddle here')"), {}, {})
    with pytest.raises(TrainingFailed, match="the trainer's rows cannot be looked at: no paddle here"):
        parity.check(command, spec, sampled(folders))
