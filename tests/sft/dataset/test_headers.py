"""Headers read by hand say what Pillow says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sft.dataset import headers
from sft.dataset.pictures import as_seen
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file
from tests.conftest import Dataset

KINDS = {
    "PNG": ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "LAB"],
}
CASES = [(kind, mode) for kind, modes in KINDS.items() for mode in modes]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(CASES),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([0, 1, 3, 6, 8]),
    st.booleans(),
    st.sampled_from([0, 1000, 9000]),
)
def test_the_header_agrees_with_pillow(
    tmp_path: Path, case: tuple[str, str], width: int, height: int, orientation: int, special: bool, profile: int
) -> None:
    kind, mode = case
    path = tmp_path / f"x.{kind.lower()}"
    image = Image.new(mode, (width, height))
    options: dict[str, Any] = {}
    if orientation and kind != "BMP":
        exif = Image.Exif()
        exif[headers.ORIENTATION] = orientation
        options["exif"] = exif
    if special and kind == "JPEG":
        options["progressive"] = True
    if special and kind == "WEBP":
        options["lossless"] = True
    if profile and kind in ("JPEG", "PNG"):
        options["icc_profile"] = bytes(profile)
    image.save(path, kind, **options)
    with Image.open(path) as opened:
        size, upright = opened.size, opened.getexif().get(headers.ORIENTATION, 1)
        stored, done = opened.mode, as_seen(opened)[1]
    found = headers.of_file(path)
    assert (found.width, found.height) == size
    names = {"CMYK": "CMYK", "I;16": "16 bits", "F": "16 bits", "P": "palette", "PA": "palette", "1": "1 bit"}
    assert found.mode == names.get(stored, "LAB" if stored == "LAB" else "")
    assert found.odd or not done, "what is converted for a person's eyes is known by the header"
    assert found.orientation == upright
    assert not found.animated
    assert not found.truncated


@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
def test_more_frames_than_one_are_seen(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    frames = [Image.new("RGB", (30, 20), shade) for shade in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert headers.of_file(path).animated


def test_what_cameras_write_behind_a_photograph_does_not_tear_it(dataset: Dataset) -> None:
    photograph = dataset.folder / "a.jpg"
    Image.effect_noise((300, 300), 90).save(photograph)
    photograph.write_bytes(photograph.read_bytes() + b"trailer" + bytes(9))
    assert not validate_file(dataset.write("t.jsonl", [dataset.row("a.jpg")]), DatasetConfig()).counts


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_torn_file_is_found(dataset: Dataset, kind: str) -> None:
    Image.effect_noise((200, 200), 99).save(dataset.folder / f"a.{kind}")
    whole = (dataset.folder / f"a.{kind}").read_bytes()
    (dataset.folder / f"a.{kind}").write_bytes(whole[: len(whole) * 2 // 3])
    path = dataset.write("t.jsonl", [dataset.row(f"a.{kind}")])
    assert set(validate_file(path, DatasetConfig(images="decode")).counts) == {"image-truncated"}
    for images in ("content", "headers"):
        assert set(validate_file(path, DatasetConfig(images=images)).counts) == {"image-truncated"}


@pytest.mark.parametrize(
    ("mode", "size", "options", "rule", "value"),
    [
        ("CMYK", (60, 30), {"format": "JPEG"}, "image-mode", "CMYK"),
        ("I;16", (60, 30), {"format": "PNG"}, "image-mode", "16 bits"),
        ("L", (28 * 201, 28), {"format": "PNG"}, "image-ratio", f"{28 * 201} × 28"),
        ("RGB", (40, 3), {"format": "PNG"}, "image-small", "40 × 3"),
        ("L", (5000, 4000), {"format": "PNG"}, "image-shrunk", "5000 × 4000: 14 % of the pixels"),
    ],
)
def test_images_that_come_out_otherwise_than_expected(
    dataset: Dataset, mode: str, size: tuple[int, int], options: dict[str, str], rule: str, value: str
) -> None:
    Image.new(mode, size).save(dataset.folder / "a.img", **options)
    (finding,) = validate_file(dataset.write("t.jsonl", [dataset.row("a.img")]), DatasetConfig()).shown
    assert finding.rule == rule
    assert value in finding.value


def test_a_rotated_photograph_is_a_warning(dataset: Dataset) -> None:
    exif = Image.Exif()
    exif[headers.ORIENTATION] = 6
    Image.new("RGB", (60, 30)).save(dataset.folder / "a.jpg", exif=exif)
    report = validate_file(dataset.write("t.jsonl", [dataset.row("a.jpg")]), DatasetConfig())
    assert report.counts == {"image-rotated": 1}
    report.check()


def test_a_pipe_is_no_image_and_nobody_waits_for_it(dataset: Dataset) -> None:
    os.mkfifo(dataset.folder / "a.png")
    report = validate_file(dataset.write("t.jsonl", [dataset.row("a.png")]), DatasetConfig())
    assert report.counts == {"image-missing": 1}
