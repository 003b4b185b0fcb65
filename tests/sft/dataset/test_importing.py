"""What people have becomes a dataset file that the validator accepts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sft.dataset.importing import import_dataset
from sft.dataset.layouts.base import Options
from sft.dataset.reading import detect_file, read_samples
from sft.dataset.rows import Format
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file
from sft.errors import DatasetError, InputError


def picture(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (56, 28), shade).save(path)
    return path


def answers(path: Path) -> list[str]:
    report = validate_file(path, DatasetConfig())
    report.check()
    return [sample.answer for sample in read_samples(path, detect_file(path))]


@pytest.mark.parametrize("form", ["erniekit", "messages"])
def test_a_folder_of_images_with_texts(tmp_path: Path, form: Format) -> None:
    source = tmp_path / "scans"
    for number, suffix in enumerate([".txt", ".md"]):
        picture(source / "deep" / f"{number}.png", number).with_suffix(suffix).write_text(f" text {number}\n")
    target = tmp_path / "out" / "data.jsonl"
    assert import_dataset(source, target, Options(form)) == 2
    assert answers(target) == ["text 0", "text 1"]
    assert detect_file(target) == form
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 2, "images from elsewhere are copied"
    beside = tmp_path / "data.jsonl"
    import_dataset(source, beside, Options(form, task="formula"))
    assert answers(beside) == ["text 0", "text 1"]
    assert not (tmp_path / "images").exists(), "images below the folder stay where they are"


def test_every_image_without_a_text_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png").with_suffix(".txt").write_text("  ")
    picture(tmp_path / "c.png").with_suffix(".txt").write_bytes(b"\xff\xfe\x00")
    target = tmp_path / "out.jsonl"
    with pytest.raises(DatasetError) as caught:
        import_dataset(tmp_path, target, Options())
    assert "3 entries" in str(caught.value)
    assert "a.md or a.txt" in str(caught.value)
    assert not target.exists()


def test_labels_of_paddleocr(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "1.png", 1)
    picture(tmp_path / "train" / "2.png", 2)
    boxes = [{"transcription": text, "points": [[0, 0]]} for text in ("first line", "###", "second")]
    (tmp_path / "label.txt").write_text(f"train/1.png\t{json.dumps(boxes)}\ntrain/2.png\t[one] line\n")
    assert import_dataset(tmp_path / "label.txt", tmp_path / "out.jsonl", Options()) == 2
    assert answers(tmp_path / "out.jsonl") == ["first line\nsecond", "[one] line"]
    (tmp_path / "label.txt").write_text("train/1.png text\nnone.png\ttext\n../../etc/x.png\ttext\n")
    with pytest.raises(DatasetError, match="3 entries"):
        import_dataset(tmp_path / "label.txt", tmp_path / "other.jsonl", Options())


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (56, 28), shade).save(buffer, "PNG")
    return buffer.getvalue()


def test_parquet_and_arrow_tables_of_the_hub(tmp_path: Path) -> None:
    values = [{"image": {"bytes": png(i), "path": f"{i}.png"}, "text": f"row {i}"} for i in range(150)]
    table = pa.Table.from_pylist(values)
    (tmp_path / "hub" / "data").mkdir(parents=True)
    pq.write_table(table.slice(0, 100), tmp_path / "hub" / "data" / "train-00000-of-00002.parquet")
    pq.write_table(table.slice(100), tmp_path / "hub" / "data" / "train-00001-of-00002.parquet")
    target = tmp_path / "out.jsonl"
    assert import_dataset(tmp_path / "hub", target, Options()) == 150
    assert answers(target) == [f"row {i}" for i in range(150)]
    for name, writer in (("stream.arrow", pa.ipc.new_stream), ("file.arrow", pa.ipc.new_file)):
        with writer(str(tmp_path / name), table.schema) as out:
            out.write_table(table)
        assert import_dataset(tmp_path / name, target, Options(force=True)) == 150


def test_a_table_with_chats(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "<image>OCR:"}, {"role": "assistant", "content": "hello"}]
    rows: list[dict[str, Any]] = [{"messages": chat, "images": [{"bytes": png(1), "path": None}]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "chat.parquet")
    import_dataset(tmp_path / "chat.parquet", tmp_path / "out.jsonl", Options("messages"))
    assert answers(tmp_path / "out.jsonl") == ["hello"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"picture": png(1), "text": "a"}, "no column 'image'; there are: picture, text"),
        ({"image": b"no image", "text": "a"}, "no image of type"),
        ({"image": png(1), "text": None}, "its text is empty"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match=said):
        import_dataset(tmp_path / "t.parquet", tmp_path / "out.jsonl", Options())


def test_torn_tables_and_empty_sources_say_so(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(DatasetError, match="the table cannot be read"):
        import_dataset(tmp_path / "t.parquet", tmp_path / "out.jsonl", Options())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing to import"):
        import_dataset(tmp_path / "empty", tmp_path / "out.jsonl", Options())
    with pytest.raises(InputError, match="no such file"):
        import_dataset(tmp_path / "none", tmp_path / "out.jsonl", Options())
