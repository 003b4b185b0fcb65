"""Which held-out rows are read: all turns, with all that stands before them; of many, a fair sample that stays."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sft.dataset.rows import Format
from sft.models.held_out import HeldOutRow, drawn
from tests.conftest import Dataset


def rows_of(path: Path, most: int = 10**6, form: Format = "erniekit") -> list[HeldOutRow]:
    return drawn(path, form, most)[0]


def row(prompt: str, answer: str, *images: str) -> dict[str, Any]:
    texts = [{"text": prompt, "tag": "mask"}, {"text": answer, "tag": "no_mask"}]
    return {"image_info": [{"matched_text_index": 0, "image_url": name} for name in images], "text_info": texts}


def test_a_row_of_two_images_and_two_turns_is_two_questions_with_all_that_was_trained(dataset: Dataset) -> None:
    a, b, c = (dataset.image(f"{name}.png", shade) for shade, name in enumerate("abc"))
    texts = [
        {"text": "OCR:", "tag": "mask"},
        {"text": "one", "tag": "no_mask"},
        {"text": "Table Recognition:", "tag": "mask"},
        {"text": "<fcel>two<nl>", "tag": "no_mask"},
    ]
    images = [{"matched_text_index": turn, "image_url": name} for name, turn in ((a, 0), (b, 0), (c, 2))]
    path = dataset.write("a.jsonl", [{"image_info": images, "text_info": texts}, dataset.row(a)])
    first, second, plain = rows_of(path)
    assert [(r.number, r.task, r.truth) for r in (first, second, plain)] == [
        (0, "ocr", "one"),
        (0, "table", "<fcel>two<nl>"),
        (1, "ocr", "42"),
    ]
    assert [path.name for path in first.shown] == ["a.png", "b.png"]
    assert [path.name for path in second.shown] == ["a.png", "b.png", "c.png"]
    assert [(t.prompt, t.answer) for t in second.turns] == [("OCR:", "one"), ("Table Recognition:", "")]
    assert plain.turns == ((plain.images, "OCR:", ""),)


def test_the_key_is_all_that_is_shown_and_not_the_truth(dataset: Dataset) -> None:
    a, b = dataset.image("a.png", 1), dataset.image("b.png", 2)
    turns = [{"text": text, "tag": ("mask", "no_mask")[i % 2]} for i, text in enumerate(("OCR:", "one", "OCR:", "two"))]
    infos = [{"matched_text_index": 0, "image_url": a}]
    path = dataset.write(
        "a.jsonl",
        [
            row("OCR:", "x", a),
            row("OCR:", "corrected", a),
            row("OCR:", "x", a, b),
            row("OCR:", "x", b, a),
            row("Formula Recognition:", "x", a),
            {"image_info": infos, "text_info": turns},
            {"image_info": infos, "text_info": [turns[0], {"text": "other", "tag": "no_mask"}, *turns[2:]]},
        ],
    )
    keys = [question.key() for question in rows_of(path)]
    assert keys[0] == keys[1] == keys[5] == keys[7], "first turns show what a row of one turn shows"
    assert len(set(keys)) == 6, "two images, their order, the prompt, and the answers before are part of it"


def held_out(dataset: Dataset, name: str = "h.jsonl", more: int = 0, seed: int = 0) -> Path:
    """600 rows sorted by task: 500 lines of Latin and Bengali, 80 long ones, then 18 formulas and 2 charts."""
    found = [row("OCR:", f"line {i}" if i % 5 else f"\u09ac\u09be {i}", f"./o{i}.png") for i in range(500)]
    found += [row("OCR:", f"long {i} " * 40, f"./l{i}.png") for i in range(80)]
    found += [row("Formula Recognition:", f"x^{i % 10}", f"./f{i}.png") for i in range(18)]
    found += [row("Chart Recognition:", f"x | y\na | {i}", f"./c{i}.png") for i in range(2)]
    found += [row("OCR:", f"new {i}", f"./n{i}.png") for i in range(more)]
    if seed:
        random.Random(seed).shuffle(found)
    return dataset.write(name, found)


def contents(rows: list[HeldOutRow]) -> set[tuple[str, str]]:
    return {(str(row.images[0].name), row.truth) for row in rows}


def test_a_sample_has_every_task_script_and_length_by_its_share(dataset: Dataset) -> None:
    path = held_out(dataset)
    rows, count = drawn(path, "erniekit", 100)
    assert (len(rows), count) == (100, 600)
    assert [r.number for r in rows] == sorted(r.number for r in rows), "in the file's order"
    tasks = Counter(r.task for r in rows)
    assert tasks["chart"] >= 1
    assert abs(tasks["formula"] - 3) <= 1
    ocr = [r for r in rows if r.task == "ocr"]
    assert abs(sum(len(r.truth) > 50 for r in ocr) - 13) <= 3
    assert abs(sum("\u09ac" in r.truth for r in ocr) - 17) <= 3
    numbers = [r.number for r in ocr if len(r.truth) < 50]
    assert 150 < sum(numbers) / len(numbers) < 350, "from the whole file, not its beginning"
    assert {r.task for r in drawn(path, "erniekit", 3)[0]} == {"ocr", "formula", "chart"}


@pytest.mark.parametrize("most", [24, 100])
def test_the_same_rows_are_drawn_from_a_file_in_another_order_and_most_from_one_that_grew(
    dataset: Dataset, most: int
) -> None:
    first = contents(rows_of(held_out(dataset), most))
    assert contents(rows_of(held_out(dataset, "shuffled.jsonl", seed=3), most)) == first
    assert len(contents(rows_of(held_out(dataset, "grown.jsonl", more=30), most)) & first) > 0.75 * most


@pytest.mark.parametrize("most", [600, 601, 10**6])
def test_where_all_are_asked_for_all_are_read_in_order(dataset: Dataset, most: int) -> None:
    rows, count = drawn(held_out(dataset), "erniekit", most)
    assert [r.number for r in rows] == list(range(600))
    assert count == 600
