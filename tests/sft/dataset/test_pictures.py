"""Pictures as a person sees them: for training, reading and the report."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from sft.dataset import headers
from sft.dataset.pictures import CLEAR, DEEP, INK, OTHER, TURNED, Converter, as_seen, open_as_seen, saved_as_seen
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file
from sft.errors import DatasetError
from sft.jobs.train_rows import engine_rows, placed
from tests.conftest import Dataset

WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (255, 0, 0)


def rotated() -> Image.Image:
    """Stored on its side: black above, white below, once it is turned as its Exif says."""
    image = Image.new("RGB", (40, 20), "white")
    image.paste("black", (0, 0, 20, 20))
    image.getexif()[headers.ORIENTATION] = 6
    return image


def deep() -> Image.Image:
    """A page of 16 bits, as scanners save it: dark grey letters on white."""
    values = np.full((20, 40), 65535, np.uint16)
    values[:10] = 0x2000
    return Image.fromarray(values)


def palette() -> Image.Image:
    image = Image.new("P", (40, 20), 1)
    image.putpalette([255, 0, 0, 255, 255, 255])
    image.paste(0, (0, 0, 40, 10))
    return image


def clear() -> Image.Image:
    """Black letters on no paper at all."""
    image = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 40, 10))
    return image


def bilevel() -> Image.Image:
    image = Image.new("1", (40, 20), 1)
    image.paste(0, (0, 0, 40, 10))
    return image


def ink() -> Image.Image:
    image = Image.new("CMYK", (40, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 40, 10))
    return image


CASES = {
    "rotated.jpg": (rotated, BLACK, WHITE, TURNED),
    "rotated.png": (rotated, BLACK, WHITE, TURNED),
    "deep.png": (deep, (32, 32, 32), WHITE, DEEP),
    "deep.tiff": (deep, (32, 32, 32), WHITE, DEEP),
    "palette.png": (palette, RED, WHITE, OTHER),
    "clear.png": (clear, BLACK, WHITE, CLEAR),
    "clear.webp": (clear, BLACK, WHITE, CLEAR),
    "bilevel.png": (bilevel, BLACK, WHITE, OTHER),
    "bilevel.tiff": (bilevel, BLACK, WHITE, OTHER),
    "ink.jpg": (ink, BLACK, WHITE, INK),
}


def written(folder: Path, name: str) -> Path:
    image = CASES[name][0]()
    options: dict[str, Any] = {"exif": image.getexif()} if name.startswith("rotated") else {}
    options |= {"lossless": True} if name.endswith("webp") else {}
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize("name", CASES)
def test_it_is_seen_as_in_a_viewer_and_trainers_get_a_plain_file_of_that(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name)
    _, above, below, what = CASES[name]
    target, done = saved_as_seen(path, tmp_path / "out" / "x")
    assert done == (what,)
    with Image.open(target) as plain:
        assert (plain.mode, plain.getexif().get(headers.ORIENTATION, 1)) == ("RGB", 1)
        shown = plain.convert("RGB")
    for seen in (open_as_seen(path), shown):
        for at, colour in ((3, above), (seen.height - 4, below)):
            assert seen.getpixel((seen.width // 2, at)) == pytest.approx(colour, abs=4)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_plain_picture_stays_the_file_that_it_is(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.png"
    Image.new(mode, (40, 20), "white").save(path)
    assert saved_as_seen(path, tmp_path / "y") == (path, ())


def test_floats_and_numbers_of_any_range_become_eight_bits() -> None:
    for values, wanted in (
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0, 99, 255], [0, 99, 255]),
    ):
        image = Image.fromarray(np.array([values], np.float32))
        assert list(as_seen(image)[0].convert("L").get_flattened_data()) == wanted
    assert as_seen(Image.fromarray(np.array([[70000, 0]], np.int32)))[0].getpixel((0, 0)) == WHITE


def test_ink_is_shown_by_its_own_profile_and_without_a_good_one_plainly() -> None:
    image = ink()
    image.info["icc_profile"] = b"no profile"
    assert as_seen(image)[0].getpixel((3, 15)) == WHITE
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # of another kind
    assert as_seen(image)[0].getpixel((3, 15)) == WHITE


def test_validation_knows_each_picture_that_has_to_be_converted(dataset: Dataset) -> None:
    rows = [dataset.row(written(dataset.folder, name).name, f"text {name}") for name in CASES]
    report = validate_file(dataset.write("t.jsonl", rows), DatasetConfig())
    report.check()
    assert report.train.odd == len(CASES)
    assert report.counts == {"image-rotated": 2, "image-mode": 6}, "transparency shows only in the pixels"
    assert report.train.widths[20] == 2, "sizes are those of the upright picture"


def test_the_trainers_rows_name_the_converted_files(dataset: Dataset, tmp_path: Path) -> None:
    plain = dataset.image("plain.png")
    odd = written(dataset.folder, "bilevel.png").name
    path = dataset.write("t.jsonl", [dataset.row(plain), dataset.row(odd), dataset.row(odd)])
    converter = Converter(tmp_path / "pictures")
    rows = [json.loads(row) for row in engine_rows(placed(path, "erniekit"), "messages", converter.paths)]
    first, second, third = (Path(row["images"][0]) for row in rows)
    assert first == dataset.folder / "plain.png"
    assert second == third
    assert second.parent == tmp_path / "pictures"
    assert open_as_seen(second).getpixel((3, 3)) == BLACK
    assert converter.done == {OTHER: 1}
    converter.remove()
    assert not second.exists()


def test_a_torn_picture_is_our_error(dataset: Dataset, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 99).convert("1").save(buffer, "PNG")
    (dataset.folder / "torn.png").write_bytes(buffer.getvalue()[:900])
    path = dataset.write("t.jsonl", [dataset.row("torn.png")])
    with pytest.raises(DatasetError, match=r"torn\.png.*--images decode"):
        list(engine_rows(placed(path, "erniekit"), "messages", Converter(tmp_path / "pictures").paths))


BODY = """
import json, random, sys
from sft.environments.cpu_launcher import stub_triton
stub_triton()
from paddleformers.datasets.template.mm_plugin import PaddleOCRVLPlugin
from paddleformers.transformers.paddleocr_vl.image_processor import PaddleOCRVLImageProcessor
plugin = PaddleOCRVLPlugin("<|IMAGE_PLACEHOLDER|>", None, None)
processor = PaddleOCRVLImageProcessor(min_pixels=784, max_pixels=18816)
random.seed(1)
def trains(path):
    try:
        for _ in range(30):  # the augmentation draws lots
            images = plugin._regularize_images([path], image_max_pixels=18816, image_min_pixels=784,
                                               image_processor=processor)["images"]
            processor(images, return_tensors="np")
    except Exception as error:
        return str(error) or type(error).__name__
    return ""
print("OUT", json.dumps([trains(path) for path in sys.argv[1:]]))
"""


def test_paddleformers_takes_every_converted_picture_and_would_not_take_them_all_as_they_are(tmp_path: Path) -> None:
    paths = [written(tmp_path, name) for name in CASES]
    converted = [saved_as_seen(path, tmp_path / "out" / path.name)[0] for path in paths]
    command = [sys.executable, "-c", BODY, *map(str, [*paths, *converted])]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "OUT" in process.stdout, process.stderr[-3000:]
    said = json.loads(process.stdout.split("OUT", 1)[1])
    assert said[len(CASES) :] == [""] * len(CASES)
    refused = {name for name, error in zip(CASES, said) if error}
    assert refused >= {"bilevel.png", "palette.png"}, (
        "PaddleFormers takes them by now: look whether converting is needed"
    )
