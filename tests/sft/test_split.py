"""Which rows are set aside depends on their documents and on nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sft.dataset.split import PAGE, split
from sft.errors import DatasetError, InputError
from tests.conftest import Dataset

TABLE = [{"text": "Table Recognition:", "tag": "mask"}, {"text": "<fcel>a<nl>", "tag": "no_mask"}]


def images(path: Path) -> set[str]:
    return {json.loads(line)["image_info"][0]["image_url"] for line in path.read_text().splitlines()}


def cut(source: Path, **options: object) -> tuple[set[str], set[str]]:
    train, held = source.with_name("train.jsonl"), source.with_name("held.jsonl")
    split(source, train, held, force=True, **options)  # type: ignore[arg-type]
    return images(train), images(held)


def test_documents_stay_together_and_a_grown_file_keeps_its_split(dataset: Dataset) -> None:
    rows = [dataset.row(f"./doc{d}_page_{p}.png", f"{d}-{p}") for d in range(200) for p in range(4)]
    source = dataset.write("all.jsonl", rows)
    train, held = cut(source, share=0.2)
    assert len(train) + len(held) == 800
    assert not train & held
    documents = [{name.split("_")[0] for name in part} for part in (train, held)]
    assert not documents[0] & documents[1], "pages of a document are on both sides"
    assert 20 < len(documents[1]) < 60, "about a fifth of 200 documents"
    assert cut(source, share=0.2) == (train, held)
    assert cut(source, share=0.2, seed=1) != (train, held)
    more = [dataset.row(f"./new{d}_page_{p}.png", f"{d}-{p}") for d in range(50) for p in range(4)]
    train_later, held_later = cut(dataset.write("all.jsonl", more + rows), share=0.2)
    assert train <= train_later
    assert held <= held_later


def test_every_task_is_measured(dataset: Dataset) -> None:
    rows = [dataset.row(f"./{i}.png") for i in range(300)] + [dataset.row(f"./t{i}.png", text_info=TABLE) for i in "ab"]
    source = dataset.write("all.jsonl", rows)
    result = split(source, source.with_name("a.jsonl"), source.with_name("b.jsonl"), share=0.05)
    assert result.held_out["table"] == 1
    assert 3 < result.held_out["ocr"] < 40


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("scans/doc7_page_3.png", "scans/doc7"),
        ("doc7-p3.jpg", "doc7"),
        ("invoice 2021-12.tif", "invoice 2021"),
        ("scan_0012.tif", None),
        ("00012.png", None),
        ("receipt.png", None),
    ],
)
def test_the_document_of_a_name(name: str, document: str | None) -> None:
    match = re.match(PAGE, name)
    assert (match.group(1) if match else None) == document


def test_what_cannot_be_split_leaves_nothing(dataset: Dataset) -> None:
    source = dataset.write("all.jsonl", [dataset.row("./doc-1.png"), dataset.row("./doc-2.png")])
    train, held = dataset.folder / "a.jsonl", dataset.folder / "b.jsonl"
    for options, said in (({}, "one document"), ({"share": 1.5}, "between 0 and 1"), ({"pattern": "("}, "no regular")):
        with pytest.raises(InputError, match=said):
            split(source, train, held, **options)
    dataset.write("all.jsonl", [dataset.row("./a.png"), b"{"])
    with pytest.raises(DatasetError, match=r"all\.jsonl:2"):
        split(source, train, held)
    assert sorted(p.name for p in dataset.folder.iterdir()) == ["all.jsonl"]
