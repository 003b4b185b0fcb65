"""Images, folders, PDF files and TIFFs become pages; what was read becomes Markdown and JSON."""

import json
from pathlib import Path

import pytest
from PIL import Image

from sft.errors import InputError
from sft.pages import Page, markdown, pages, write


def picture(shade: int) -> Image.Image:
    return Image.new("RGB", (200, 100), (shade, shade, shade))


def test_every_page_of_a_pdf_is_rendered_at_200_dpi(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "two.pdf", save_all=True, append_images=[picture(255)], resolution=100)
    first, second = pages(tmp_path / "two.pdf", tmp_path / "work")
    assert (first.name, second.name, second.number) == ("two-p0001", "two-p0002", 2)
    with Image.open(first.image) as one, Image.open(second.image) as two:
        assert one.size == (400, 200), "2 × 1 inches"
        assert [image.convert("L").getpixel((200, 100)) for image in (one, two)] == pytest.approx([0, 255], abs=3)


def test_every_frame_of_a_tiff_is_a_page_and_an_animation_is_one(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "scan.tiff", save_all=True, append_images=[picture(255)])
    picture(0).save(tmp_path / "moving.gif", save_all=True, append_images=[picture(255)])
    assert [page.name for page in pages(tmp_path / "scan.tiff", tmp_path / "w")] == ["scan-p0001", "scan-p0002"]
    assert [page.image for page in pages(tmp_path / "moving.gif", tmp_path / "w")] == [tmp_path / "moving.gif"]


def test_a_folder_gives_its_pages_in_order_under_names_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("b.png", "a.png", "a.jpg", "sub/a.png"):
        picture(0).save(folder / name)
    (folder / "notes.txt").write_text("no page")
    assert [page.name for page in pages(folder, tmp_path / "w")] == ["a", "a-2", "b", "sub__a"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.pdf", b"%PDF-1.7 torn", "cannot be opened"),
        ("x.png", b"no image", "cannot be read as an image"),
        ("x.txt", b"text", "cannot be read as an image"),
    ],
)
def test_what_is_no_page_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        pages(tmp_path / name, tmp_path / "w")


def test_what_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.png", "no such file"), (tmp_path, "no image and no PDF")):
        with pytest.raises(InputError, match=said):
            pages(path, tmp_path / "w")


@pytest.mark.parametrize(
    ("task", "text", "wanted"),
    [
        ("ocr", "two\nlines", "two\nlines"),
        ("table", "<fcel>a<fcel>b<nl>", "<table><tr><td>a</td><td>b</td></tr></table>"),
        ("table", "no table", "no table"),
        ("formula", "$x^2$", "$$\nx^2\n$$"),
        ("chart", "x | y\n1 | 2", "| x | y |\n| --- | --- |\n| 1 | 2 |"),
        ("chart", "no table", "no table"),
    ],
)
def test_each_task_becomes_markdown(task: str, text: str, wanted: str) -> None:
    assert markdown(task, text) == wanted


def test_results_name_their_source(tmp_path: Path) -> None:
    page = Page("scan-p0002", tmp_path / "x.png", "scan.pdf", 2)
    md, js = write(tmp_path / "out", page, "text", {"task": "ocr"})
    assert md.read_text() == "text\n"
    assert json.loads(js.read_text()) == {"source": "scan.pdf", "page": 2, "markdown": "text", "task": "ocr"}
