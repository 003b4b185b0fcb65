"""Blocks taken whole and rows taken one by one must find the same, and nothing but our findings comes of any bytes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from sft.dataset import rows, scan, validate, workers
from sft.dataset.columns import plain_rows
from sft.dataset.images import Bounds, Folder
from sft.dataset.lines import Block
from sft.dataset.parts import Options, Part
from sft.dataset.rules import RULES
from sft.dataset.settings import DatasetConfig
from sft.dataset.tokens import Limits
from sft.dataset.validate import validate_file
from sft.errors import SftError
from sft.processes import repeating
from tests.conftest import Dataset

TEXTS = st.sampled_from(
    [
        "OCR:",
        "Table Recognition:",
        "12",
        "a long answer <image>",
        "a long answer</s>",
        "a long <fcel> answer",
        "a:b",
        '"text":',
        " ",
        "",
        "…",
        "é",
        "e\u0301",
        "\ufffd",
        "\x07",
        "\u200b",
        "a\tb",
        *["<fcel>a<fcel>b<nl>", "<fcel>a<nl><fcel>b<fcel>c<nl>", "x" * 60, "<image>", "\x7f", "{", "}\n{", "\u2028"],
    ]
)
WITH = (
    b'{"image_info": [{"image_url": "%s"}], "text_info": '
    b'[{"text": "OCR:", "tag": "mask"}, {"text": "1", "tag": "no_mask"}]}'
)
TAGS = {"erniekit": ("mask", "no_mask"), "messages": ("user", "assistant")}


@st.composite
def row(draw: st.DrawFn, form: rows.Format) -> dict[str, Any]:
    turns, tags = draw(st.sampled_from([1, 1, 1, 2])), TAGS[form]
    said = [draw(TEXTS) for _ in range(2 * turns)]
    if form == "erniekit":
        image: dict[str, Any] = {"image_url": draw(st.sampled_from(["./a.png", "b:c.png", ""]))}
        if draw(st.booleans()):
            image["matched_text_index"] = draw(st.sampled_from([0, 0, 0, 1, 2]))
        value: dict[str, Any] = {
            "image_info": [image],
            "text_info": [{"text": text, "tag": tags[i % 2]} for i, text in enumerate(said)],
        }
    else:
        said[0] = draw(st.sampled_from(["<image>", "<image>", "", "<image><image>"])) + said[0]
        value = {
            "messages": [{"role": tags[i % 2], "content": text} for i, text in enumerate(said)],
            "images": draw(st.sampled_from([["./a.png"], ["./a.png"], [], [""]])),
        }
    if draw(st.integers(0, 9)) == 0:
        value["extra"] = draw(TEXTS)
    return value


@st.composite
def line(draw: st.DrawFn, form: rows.Format) -> bytes:
    if draw(st.integers(0, 11)) == 0:
        return draw(
            st.sampled_from([b"", b"  ", b"{", b"}", b"[]", b"{}{}", b'{"a": "\xff"}', b'{"text_info": [', b"nul\0"])
        )
    value, ascii_only = draw(row(form)), draw(st.booleans())
    text = json.dumps(value, ensure_ascii=ascii_only)
    if draw(st.integers(0, 11)) == 0:
        text = text.replace('"text":', '"text": "x", "text":', 1).replace('"role":', '"role": "x", "role":', 1)
    if draw(st.integers(0, 11)) == 0:
        text = text.replace(", ", ",\n", 1)
    return text.encode("utf-8", "surrogatepass") + draw(st.sampled_from([b"", b"", b"", b"\r", b" "]))


LIMITS = Limits(max_seq_len=40)


def parts(
    path: Path, data: bytes, form: rows.Format, limits: Limits = LIMITS, *, images: bool = False
) -> tuple[Part, Part]:
    """The same bytes as one block, and line by line."""
    options = Options(form, Bounds(10**6, 10**6), limits, images=images, shown=1000)
    folder = Folder(path.parent, options.bounds)
    whole = scan.Scanner(options, folder)
    whole.block(Block(data, 1))
    single = scan.Scanner(options, folder)
    block = Block(data, 1)
    for number, content in enumerate(block.lines(), 1):
        single._line(number, content, False)
    return whole.part, single.part


@pytest.mark.parametrize("form", ["erniekit", "messages"])
def test_a_block_is_judged_like_its_lines(tmp_path: Path, form: rows.Format) -> None:
    taken = []

    @settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(st.lists(line(form), min_size=1, max_size=5))
    def check(content: list[bytes]) -> None:
        data = b"\n".join(content) + b"\n"
        whole, single = parts(tmp_path / "x.jsonl", data, form)
        assert sorted(whole.shown) == sorted(single.shown)
        assert (whole.rows, whole.images, whole.tasks) == (single.rows, single.images, single.tasks)
        assert whole.lengths == single.lengths
        assert (whole.digests, whole.places) == (single.digests, single.places)
        taken.append(plain_rows(data, Block(data, 1).lines(), form) is not None)

    check()
    assert any(taken), "no block was ever taken whole: the test shows nothing"


@pytest.mark.parametrize("form", ["erniekit", "messages"])
def test_a_block_with_images_is_judged_like_its_lines(dataset: Dataset, form: rows.Format) -> None:
    good = [dataset.image(f"{n}.png", n, size) for n, size in enumerate([(56, 28), (60, 30), (300, 200), (56, 28)])]
    Image.new("CMYK", (90, 30)).save(dataset.folder / "c.jpg")
    names, taken = st.sampled_from([*good, *good, "./c.jpg", "missing.png", "../outside.png"]), []
    said = st.sampled_from(["12", "é" * 9, "e\u0301", "x" * 60, "."])

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(st.lists(st.tuples(names, said, st.booleans()), min_size=1, max_size=6))
    def check(content: list[tuple[str, str, bool]]) -> None:
        samples = [rows.Sample(((name, 0),), (("OCR:" if ocr else "OCr", text),)) for name, text, ocr in content]
        write = rows.to_erniekit if form == "erniekit" else rows.to_messages
        data = b"".join(json.dumps(write(sample)).encode() + b"\n" for sample in samples)
        limits = Limits(max_seq_len=150, min_pixels=784, max_pixels=12_000)
        whole, single = parts(dataset.folder / "x.jsonl", data, form, limits, images=True)
        single.bytes, single.lines = whole.bytes, whole.lines
        whole.shown.sort(), single.shown.sort()
        assert whole == single
        taken.append(len(whole.places) == len(content) > 1)

    check()
    assert any(taken), "no block was ever good: the test shows nothing"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60) | line("erniekit") | line("messages"), max_size=6), st.booleans())
@example([b'{"a":' * 5000], False)
@example([b"[" * 100_000], True)
@example([b'{"image_info": [{"image_url": "a\\u0000b"}], "text_info": []}'], True)
@example([b"\xef\xbb\xbf\xef\xbb\xbf{}"], True)
@example([WITH % b"\\ud800.png"], True)
@example([WITH % b"a\\nb.png"], True)
@example([b'{"image_info": [{"image_url": "x", "matched_text_index": 1e400}], "text_info": []}'], True)
@example([b'{"image_info": [{"image_url": "x", "matched_text_index": -1e308}], "text_info": []}'], True)
def test_no_bytes_bring_an_exception_of_anybody_else(tmp_path: Path, content: list[bytes], images: bool) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"x\n" + b"\n".join(content))
    report = validate_file(path, DatasetConfig(workers=1), images=images)
    assert report.counts.keys() <= RULES.keys()
    assert "\n".join(report.lines()).encode("utf-8", "backslashreplace")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["png", "jpeg", "webp", "bmp", "tiff"]), st.binary(max_size=40), st.integers(0, 400), st.booleans()
)
def test_no_image_bytes_bring_an_exception(tmp_path: Path, kind: str, noise: bytes, at: int, cut: bool) -> None:
    data = Dataset(tmp_path)
    name = data.image(f"a.{kind}", 7, (70, 50))
    path = data.folder / name
    content = path.read_bytes()
    path.write_bytes(content[:at] + noise + (b"" if cut else content[at + len(noise) :]))
    for look in ("content", "decode"):
        report = validate_file(data.write("t.jsonl", [data.row(name)]), DatasetConfig(images=look))
        assert sum(report.counts.values()) + report.train.rows >= 1


def test_several_workers_find_what_one_finds(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "IMAGE_RANGE", 3000)
    draw = random.Random(3)
    names = [dataset.image(f"img/{i}.png", i) for i in range(20)]
    content: list[Any] = []
    broken: list[Any] = [b"{", b""]
    for number in range(300):
        good = dataset.row(names[draw.randrange(20)], f"text {draw.randrange(150)}")
        content.append(draw.choice([good] * 8 + [*broken, {**good, "image_info": []}]) if number else good)
    path = dataset.write("t.jsonl", content)
    one, two = (validate_file(path, DatasetConfig(workers=count, shown=7)) for count in (1, 2))
    with with_a_thread():
        three = validate_file(path, DatasetConfig(workers=3, shown=7))
    assert one.as_dict() == two.as_dict() == three.as_dict()
    assert one.counts["duplicate"] > 5
    by_hand = Counter(json.dumps(c, sort_keys=True) for c in content if isinstance(c, dict) and c["image_info"])
    assert one.counts["duplicate"] == sum(count - 1 for count in by_hand.values())


def test_workers_follow_the_size_of_the_work(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are read by this process alone; work that is worth it is shared, from where it was seen to be."""
    monkeypatch.setattr(validate, "LEAST_RANGE", 200)
    monkeypatch.setattr(workers, "_BODY", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    path = dataset.write("t.jsonl", [dataset.row(dataset.image("a.png"), str(i)) for i in range(99)])
    with with_a_thread():
        small = validate_file(path, DatasetConfig())
        monkeypatch.setattr(workers, "STARTED", 1e-9)
        with pytest.raises(SftError, match="was killed"):
            validate_file(path, DatasetConfig())
        monkeypatch.undo()
        monkeypatch.setattr(validate, "LEAST_RANGE", 200)
        monkeypatch.setattr(workers, "STARTED", 1e-9)
        shared = validate_file(path, DatasetConfig())
    assert shared.as_dict() == small.as_dict() == validate_file(path, DatasetConfig(workers=1)).as_dict()


def test_a_worker_that_is_killed_is_one_clear_error(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "IMAGE_RANGE", 200)
    monkeypatch.setattr(workers, "_BODY", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    path = dataset.write("t.jsonl", [dataset.row(dataset.image("a.png"), str(i)) for i in range(9)])
    with with_a_thread(), pytest.raises(SftError, match="was killed"):
        validate_file(path, DatasetConfig(workers=2))


FORKING = """
import os, signal, sys
from pathlib import Path
from sft.dataset.settings import DatasetConfig
from sft.dataset import ranges, validate
from sft.errors import SftError
validate.IMAGE_RANGE, ours = 200, os.getpid()
ranges.Reader.scan = lambda self, piece: os.kill(os.getpid(), signal.SIGKILL if os.getpid() != ours else 0)
try:
    validate.validate_file(Path(sys.argv[1]), DatasetConfig(workers=2))
except SftError as error:
    print(error)
"""


def test_a_forked_worker_that_is_killed_is_the_same_error(dataset: Dataset) -> None:
    """In a process without threads, which a test's is not always."""
    path = dataset.write("t.jsonl", [dataset.row(dataset.image("a.png"), str(i)) for i in range(9)])
    told = subprocess.run([sys.executable, "-c", FORKING, str(path)], capture_output=True, text=True)
    assert "was killed" in told.stdout, told.stderr
    assert "dataset.workers=1" in told.stdout


def with_a_thread() -> AbstractContextManager[None]:
    """A process with threads, such as a flow's, must not fork."""
    return repeating(60, lambda: None)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (b'{"image_info": [], "image_info": [], "text_info": []}', ["image_info"]),
        (b'{"image_info": [{"image_url": "a", "image_url": "b"}]}', ["image_url"]),
        (b'{"a": {"b": 1, "c": 2}, "b": 3}', []),
        (b"not json", []),
    ],
)
def test_keys_that_are_named_twice(text: bytes, keys: list[str]) -> None:
    assert rows.duplicate_keys(text) == keys


def test_a_key_named_twice_is_an_error_with_its_line(dataset: Dataset) -> None:
    good = json.dumps(dataset.row(dataset.image("a.png")))
    twice = good.replace('"text": "42"', '"text": "41", "text": "42"').encode()
    path = dataset.write("t.jsonl", [good.encode(), twice])
    for images in (True, False):
        (finding,) = validate_file(path, DatasetConfig(), images=images).shown
        assert (finding.rule, finding.where, finding.value) == ("duplicate-key", f"{path}:2", "text")


def test_two_rows_in_a_line_and_one_in_two_are_not_taken_for_three(tmp_path: Path) -> None:
    one = WITH % b"a.png"
    data = one + one + b"\n" + one.replace(b", ", b",\n", 1) + b"\n"
    assert data.count(b"\n") == 3
    assert plain_rows(data, Block(data, 1).lines(), "erniekit") is None
    whole, _ = parts(tmp_path / "x.jsonl", data, "erniekit")
    assert whole.counts == {"json": 3}
