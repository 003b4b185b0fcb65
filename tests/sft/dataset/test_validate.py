import os
import zlib
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from sft import plan
from sft.dataset.files import DatasetFiles
from sft.dataset.findings import Report
from sft.dataset.rules import RULES
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate, validate_file
from sft.errors import DatasetError
from tests.conftest import Dataset

CONFIG = DatasetConfig()


def only(report: Report) -> tuple[str, str, str]:
    (finding,) = report.shown
    return finding.rule, finding.where, finding.value


def test_a_good_file_has_no_findings_and_its_facts_are_counted(dataset: Dataset) -> None:
    images = [dataset.image(f"{i}.png", i, (28 * (i + 1), 28)) for i in range(3)]
    report = validate_file(dataset.write("t.jsonl", [dataset.row(image, "x" * 3) for image in images]), CONFIG)
    report.check()
    summary = report.train.summary()
    assert (summary["rows"], summary["images"], summary["tasks"]) == (3, 3, {"ocr": 3})
    assert (summary["lengths"], summary["widths"], summary["heights"]) == ([3, 3, 3], [28, 56, 84], [28, 28, 28])


@pytest.mark.parametrize(
    ("bad", "rule", "value"),
    [
        (b'{"image_info": ', "json", "Input data was truncated"),
        (b"[1, 2]", "json", "a JSON list"),
        (b'{"image_info": "\xff"}', "json", ""),
        (
            {"text_info": [{"text": "OCR:", "tag": "mask"}, {"text": "a", "tag": "mask"}]},
            "tags-alternate",
            "mask, mask",
        ),
        (
            {"text_info": [{"text": "a", "tag": "no_mask"}, {"text": "b", "tag": "mask"}]},
            "tags-alternate",
            "no_mask, mask",
        ),
        (
            {"text_info": [{"text": "OCR:", "tag": "mask"}, {"text": " ", "tag": "no_mask"}]},
            "text-empty",
            "text_info[1]",
        ),
        ({"image_info": []}, "image-none", "[]"),
        (
            {"image_info": [{"matched_text_index": 1, "image_url": "./a.png"}]},
            "image-index",
            "1, while text_info has 2",
        ),
        (
            {"image_info": [{"matched_text_index": 4, "image_url": "./a.png"}]},
            "image-index",
            "4, while text_info has 2",
        ),
        ({"image_info": [{"image_url": "./none.png"}]}, "image-missing", "./none.png"),
        ({"image_info": [{"image_url": "https://host/a.png"}]}, "image-remote", "https://host/a.png"),
        ({"image_info": [{"image_url": "../outside.png"}]}, "image-outside", "../outside.png"),
        ({"image_info": [{"image_url": "/etc/passwd"}]}, "image-outside", "/etc/passwd"),
        ({"image_info": [{"image_url": "./text.png"}]}, "image-type", "text.png"),
        ({"image_info": [{"image_url": "./a\x00.png"}]}, "image-outside", "a"),
        ({"image_info": [{"image_url": "."}]}, "image-missing", "."),
    ],
)
def test_each_breach_names_rule_line_and_value(dataset: Dataset, bad: object, rule: str, value: str) -> None:
    good = dataset.row(dataset.image("a.png"))
    dataset.image("../outside.png")
    (dataset.folder / "text.png").write_text("not an image")
    row = {**good, **bad} if isinstance(bad, dict) else bad
    path = dataset.write("t.jsonl", [good, row])
    report = validate_file(path, CONFIG)
    found, where, what = only(report)
    assert (found, where) == (rule, f"{path}:2")
    assert value in what
    with pytest.raises(DatasetError) as caught:
        report.check()
    assert f"{path}:2" in str(caught.value)
    assert RULES[rule].remedy in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(dataset: Dataset) -> None:
    dataset.image("../secret.png")
    os.symlink("../secret.png", dataset.folder / "link.png")
    report = validate_file(dataset.write("t.jsonl", [dataset.row("link.png")]), CONFIG)
    assert only(report)[0] == "image-outside"


@pytest.mark.parametrize(
    ("key", "bound", "rule"), [("max_image_pixels", 1024, "image-pixels"), ("max_image_bytes", 1024, "image-bytes")]
)
def test_images_are_bounded(dataset: Dataset, key: str, bound: int, rule: str) -> None:
    Image.effect_noise((64, 64), 99).save(dataset.folder / "big.png")
    path = dataset.write("t.jsonl", [dataset.row("big.png")])
    assert only(validate_file(path, DatasetConfig.model_validate({key: bound})))[0] == rule


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def test_a_decompression_bomb_is_one_finding(dataset: Dataset) -> None:
    size = (60_000).to_bytes(4, "big") * 2
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\x00\x00\x00\x00") + chunk(b"IDAT", zlib.compress(b"0"))
    (dataset.folder / "bomb.png").write_bytes(png)
    assert only(validate_file(dataset.write("t.jsonl", [dataset.row("bomb.png")]), CONFIG))[0] == "image-pixels"


def test_all_are_counted_and_the_first_ones_shown(dataset: Dataset) -> None:
    path = dataset.write("t.jsonl", [dataset.row(f"{i}.png") for i in range(20)])
    report = validate_file(path, DatasetConfig(shown=3))
    assert report.counts == {"image-missing": 20}
    assert [f.where for f in report.shown] == [f"{path}:{line}" for line in (1, 2, 3)]


def test_a_missing_and_an_empty_file_are_told_apart(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        validate_file(dataset.folder / "none.jsonl", CONFIG)
    with pytest.raises(DatasetError, match="is empty"):
        validate_file(dataset.write("t.jsonl", [b"", b"  "]), CONFIG)


def test_a_mixed_file_is_refused(dataset: Dataset) -> None:
    image = dataset.image("a.png")
    other = {
        "messages": [{"role": "user", "content": "<image>OCR:"}, {"role": "assistant", "content": "1"}],
        "images": [image],
    }
    assert only(validate_file(dataset.write("t.jsonl", [dataset.row(image), other]), CONFIG))[0] == "format"
    validate_file(dataset.write("m.jsonl", [other]), CONFIG).check()


def test_an_overlong_line_is_one_finding_and_the_next_line_keeps_its_number(dataset: Dataset) -> None:
    good = dataset.row(dataset.image("a.png"))
    path = dataset.write("t.jsonl", [b'{"x": "' + b"y" * (40 << 20) + b'"}', good, {}])
    report = validate_file(path, CONFIG)
    assert [(f.rule, f.where) for f in report.shown][:2] == [("line-size", f"{path}:1"), ("keys", f"{path}:3")]
    assert report.train.rows == 1


def test_shared_images_and_rows_are_warnings_with_counts(dataset: Dataset) -> None:
    a, same_as_a, b = dataset.image("a.png", 1), dataset.image("copy.png", 1), dataset.image("b.png", 2)
    held = dataset.write("held.jsonl", [dataset.row(a, "1"), dataset.row(b, "2")])
    train = dataset.write("train.jsonl", [dataset.row(same_as_a, "1"), dataset.row(b, "3"), dataset.row(b, "3")])
    report = validate(train, held, CONFIG)
    assert report.counts == {"leak-image": 3, "leak-row": 1, "duplicate": 1, "leak-document": 2}
    report.check()  # warnings stop nothing


def test_what_chooses_and_what_judges_share_nothing(dataset: Dataset) -> None:
    pages = [dataset.image(f"doc{d}_page_{p}.png", 10 * d + p) for d in range(4) for p in range(2)]
    held = dataset.write("held.jsonl", [dataset.row(pages[0], "1"), dataset.row(pages[2], "2")])
    train = dataset.write("train.jsonl", [dataset.row(pages[6], "7")])
    good = dataset.write("good.jsonl", [dataset.row(pages[4], "5"), dataset.row(pages[5], "6")])
    report = validate(train, held, CONFIG, dev=good)
    report.check()
    assert report.counts == {}
    assert (report.dev and report.dev.rows, [split.rows for split in report.splits]) == (2, [1, 2, 2])
    assert report.fingerprint != validate(train, held, CONFIG).fingerprint, "other rows choose: another training"
    assert report.as_dict()["dev"]["rows"] == 2
    bad = dataset.write(
        "bad.jsonl", [dataset.row(pages[4], "5"), dataset.row(pages[1], "2"), dataset.row(pages[2], "2")]
    )
    report = validate(train, held, CONFIG, dev=bad)
    assert report.counts == {"leak-dev": 2}, "a page of a held-out document, and a row"
    assert [found.where for found in report.shown] == [f"{bad}:2", f"{bad}:3"]
    with pytest.raises(DatasetError, match="leak-dev"):
        report.check()
    near = dataset.write("near.jsonl", [dataset.row(pages[7], "8")])
    assert set(validate(train, held, CONFIG, dev=near).counts) == {"leak-document"}, "with the training set it is told"


def test_a_report_of_images_that_were_not_read_identifies_nothing(dataset: Dataset) -> None:
    """Each such dataset had the identity of every other, so that a training of other data was taken for the one."""
    train, held = (dataset.write(f"{n}.jsonl", [dataset.row(dataset.image(f"{n}.png", n))]) for n in range(2))
    assert validate(train, held, CONFIG).fingerprint
    report = validate(train, held, CONFIG.model_copy(update={"images": "headers"}))
    assert report.fingerprint == ""
    with pytest.raises(ValidationError, match="fingerprint"):
        plan.dataset_place(DatasetFiles.of(train, held), report, "root")


def test_the_fingerprint_is_the_content_not_the_place(dataset: Dataset, tmp_path: Path) -> None:
    def fingerprint(folder: str, text: str, shade: int) -> str:
        other = Dataset(tmp_path / folder)
        row = other.row(other.image(f"{folder}.png", shade), text)
        return validate_file(other.write("t.jsonl", [row]), CONFIG).fingerprint

    assert fingerprint("one", "42", 0) == fingerprint("two", "42", 0)
    assert fingerprint("one", "42", 0) != fingerprint("two", "43", 0)
    assert fingerprint("one", "42", 0) != fingerprint("two", "42", 1)


def test_an_unknown_prompt_is_a_warning_with_the_nearest(dataset: Dataset) -> None:
    row = dataset.row(
        dataset.image("a.png"), text_info=[{"text": "OCR", "tag": "mask"}, {"text": "1", "tag": "no_mask"}]
    )
    report = validate_file(dataset.write("t.jsonl", [row]), CONFIG)
    assert only(report)[::2] == ("prompt", "'OCR', perhaps 'OCR:'")
    report.check()


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_and_windows_line_ends_are_read(dataset: Dataset, prefix: bytes, end: bytes) -> None:
    path = dataset.write("t.jsonl", [dataset.row(dataset.image("a.png"))])
    path.write_bytes(prefix + path.read_bytes().replace(b"\n", end))
    validate_file(path, CONFIG).check()


def test_a_set_that_is_mixed_in_may_be_called_as_another_one(dataset: Dataset) -> None:
    """Each has what it was compared with of its own; the temporary files of all are given back."""
    files = [dataset.write(f"{n}.jsonl", [dataset.row(dataset.image(f"{n}.png", n), str(n))]) for n in range(3)]
    leaks = dataset.write("leaks.jsonl", [dataset.row("./1.png", "1")])
    report = validate(files[0], files[1], CONFIG, mix={"train": files[2], "held_out": leaks})
    assert report.counts["leak-row"] == 1
    assert list(report.named) == ["train", "held-out", "mix train", "mix held_out"]
