"""Tasks and own prompts: what a prompt asks for, what is declared wrongly, what rows of each task have to say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from sft.dataset.importing import import_dataset
from sft.dataset.layouts.base import Options
from sft.dataset.settings import DatasetConfig
from sft.dataset.tasks import BUILT_IN, OTHER, find, known, task_of, undeclared
from sft.dataset.tokens import Limits
from sft.dataset.validate import validate_file
from sft.errors import DatasetError, InputError
from sft.families import ELEMENTS, V0_9B, Task
from sft.notation.spotting import parse
from tests.conftest import Dataset

BOX = "<|LOC_0|><|LOC_0|><|LOC_500|><|LOC_0|><|LOC_500|><|LOC_100|><|LOC_0|><|LOC_100|>"
INVOICE = "Read the invoice as JSON:"
OWN = {"invoice": {"prompt": INVOICE, "measure": "json", "required": ["number", "total"]}}


def config(**settings: Any) -> DatasetConfig:
    return DatasetConfig.model_validate({"prompts": OWN, **settings})


def test_a_prompt_asks_for_its_task_also_of_a_region() -> None:
    among = known(config().prompts)
    assert task_of("OCR:").name == "ocr"
    assert task_of(f"OCR:{BOX}").name == "ocr", "of a part of the picture"
    assert task_of(f" {INVOICE} ", among) == Task("invoice", INVOICE, "json", ("number", "total"))
    assert task_of(INVOICE) is OTHER
    assert find("invoice", among) == find(INVOICE, among) == among[INVOICE]
    assert find("seal", among) == BUILT_IN["Seal Recognition:"]
    assert find("What is the sum?", among) == Task("other", "What is the sum?")
    assert find("tabel", among) is None


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("OCR:", None),
        ("OCR", "'OCR', perhaps 'OCR:'"),
        ("Tabel Recognition:", "'Tabel Recognition:', perhaps 'Table Recognition:'"),
        ("Read the invoice as JSON", f"'Read the invoice as JSON', perhaps '{INVOICE}'"),
        ("Hello", "'Hello'"),
        ("Spotting:", "'Spotting:', which the base model was not trained for"),
        ("Seal Recognition:", "'Seal Recognition:', which the base model was not trained for"),
    ],
)
def test_an_undeclared_prompt_names_the_nearest(prompt: str, said: str | None) -> None:
    assert undeclared(prompt, known(config().prompts, ELEMENTS)) == said


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"ocr": {"prompt": "a"}}, "'ocr' is a name of ours"),
        ({"page": {"prompt": "a"}}, "'page' is a name of ours"),
        ({"My invoice": {"prompt": "a"}}, "'My invoice' is no name"),
        ({"a": {"prompt": "x"}, "b": {"prompt": " x "}}, "'b' and 'a' are one prompt"),
        ({"a": {"prompt": "OCR:"}}, "is a task of the base models"),
        ({"a": {"prompt": "<image>x"}}, "leave <image> out"),
        ({"a": {"prompt": "  "}}, "it is blank"),
        ({"a": {"prompt": "x", "required": ["y"]}}, "use measure: json"),
        ({"a": {"prompt": "x", "measure": "xml"}}, "measure"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(own: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(prompts=own)


def counted(
    dataset: Dataset, prompt: str, answer: str, limits: Limits | None = None, **settings: Any
) -> dict[str, int]:
    turn = [{"text": prompt, "tag": "mask"}, {"text": answer, "tag": "no_mask"}]
    path = dataset.write("t.jsonl", [dataset.row(dataset.image("a.png"), text_info=turn)])
    report = validate_file(path, config(**settings), limits)
    assert validate_file(path, config(**settings), limits, images=False).counts == report.counts
    return dict(report.counts)


@pytest.mark.parametrize(
    ("prompt", "answer", "rules"),
    [
        ("Spotting:", f"Total due{BOX}", set()),
        ("Spotting:", "Total due", {"spotting-format"}),
        ("Spotting:", f"Total due{BOX}<|LOC_3|>", {"spotting-format"}),
        ("Spotting:", "Total due" + BOX.replace("500", "1500"), {"spotting-format"}),
        ("Seal Recognition:", "City of Dhaka", set()),
        (INVOICE, '{"number": "A-17", "total": null}', set()),
        (INVOICE, '{"number": "A-17"}', {"json-keys"}),
        (INVOICE, '{"number": "A-17", "total": }', {"json-format"}),
        (INVOICE, "A-17, 12.50 in all", {"json-format"}),
        ("Read it as XML:", "<invoice>", {"prompt"}),
    ],
)
def test_rows_of_each_task(dataset: Dataset, prompt: str, answer: str, rules: set[str]) -> None:
    assert counted(dataset, prompt, answer) == dict.fromkeys(rules, 1)


def test_a_rule_of_a_task_can_be_lowered_but_not_that_of_the_tokens(dataset: Dataset) -> None:
    assert counted(dataset, "Spotting:", "Total due", rules={"spotting-format": "off"}) == {}
    with pytest.raises(ValidationError, match="'place-token' is always an error"):
        config(rules={"place-token": "warning"})


def test_places_are_refused_for_a_base_that_has_no_tokens_of_them(dataset: Dataset) -> None:
    limits = Limits(tasks=V0_9B.tasks, places=V0_9B.locations)
    assert counted(dataset, "Spotting:", f"Total due{BOX}", limits) == {"place-token": 1, "prompt": 1}
    assert counted(dataset, f"OCR:{BOX}", "Total due", limits) == {"place-token": 1}
    path = dataset.folder / "t.jsonl"
    with pytest.raises(DatasetError, match=r"base_model.repo"):
        validate_file(path, config(), limits).check()


def test_augmentation_beside_places_is_said(dataset: Dataset) -> None:
    assert counted(dataset, "Spotting:", f"Total due{BOX}", Limits(enlarges=1.5)) == {"place-augmented": 1}
    assert counted(dataset, "OCR:", "Total due", Limits(enlarges=1.5)) == {}


def test_the_counts_are_by_task(dataset: Dataset) -> None:
    prompts = ["OCR:", "Spotting:", INVOICE, "What is it?"]
    answers = ["some text here", f"Total due{BOX}", '{"number": 1, "total": 2}', "an invoice"]
    rows = [
        dataset.row(dataset.image(f"{n}.png", n), text_info=[{"text": p, "tag": "mask"}, {"text": a, "tag": "no_mask"}])
        for n, (p, a) in enumerate(zip(prompts, answers))
    ]
    stats = validate_file(dataset.write("t.jsonl", rows), config()).train
    assert stats.tasks == {"ocr": 1, "spotting": 1, "invoice": 1, "other": 1}


def label(dataset: Dataset, boxes: list[dict[str, Any]]) -> str:
    name = dataset.image("page.png", 3, size=(400, 200))
    (dataset.folder / "Label.txt").write_text(f"{name}\t{json.dumps(boxes)}\n")
    return name


PAGE: list[dict[str, Any]] = [
    {"transcription": "Total", "points": [[0, 0], [200, 0], [200, 20], [0, 20]], "difficult": False},
    {"transcription": "###", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]},
    {"transcription": "12.50", "points": [[300, 20], [300, 0], [200, 0], [200, 20]]},
]


@pytest.mark.parametrize("task", ["spotting", "Spotting:"])
def test_pages_of_ppocrlabel_become_spotting_with_their_places(dataset: Dataset, task: str) -> None:
    label(dataset, PAGE)
    said: list[str] = []
    target = dataset.folder / "out.jsonl"
    assert import_dataset(dataset.folder / "Label.txt", target, Options(task=task), said.append) == 1
    turn = json.loads(target.read_text())["text_info"]
    assert turn[0]["text"] == "Spotting:"
    first, second = parse(turn[1]["text"])
    assert (first.text, first.box) == ("Total", (0, 0, 500, 0, 500, 100, 0, 100))
    assert (second.text, second.box) == ("12.50", (500, 0, 750, 0, 750, 100, 500, 100)), "from the top left, clockwise"
    assert "boxes that nobody transcribed" in said[0]
    assert validate_file(target, config()).counts == {}


def test_what_has_no_places_cannot_become_spotting(dataset: Dataset) -> None:
    name = label(dataset, [{"transcription": "Total"}])
    for text, wrong in (("", "a box without points"), (f"{name}\tTotal due\n", "needs labels of pages")):
        if text:
            (dataset.folder / "Label.txt").write_text(text)
        with pytest.raises(DatasetError, match=wrong):
            import_dataset(dataset.folder / "Label.txt", dataset.folder / "out.jsonl", Options(task="spotting"))
    with pytest.raises(InputError, match="no such task"):
        import_dataset(dataset.folder / "Label.txt", dataset.folder / "out.jsonl", Options(task="spoting"))
    assert not (dataset.folder / "out.jsonl").exists()
