"""Images, folders, PDF files and TIFFs become pages; what was read becomes Markdown and JSON."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from sft.dataset.pictures import open_as_seen
from sft.errors import InputError
from sft.models.pages import Page, pages, write
from sft.models.rendering import facts, markdown


def picture(shade: int) -> Image.Image:
    return Image.new("RGB", (200, 100), (shade, shade, shade))


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


TORN_JPEG = encoded(Image.effect_noise((200, 200), 99), "JPEG")[:5000]
RIBBON = encoded(Image.new("L", (8, 1700)), "PNG")
SPECK = encoded(Image.new("RGB", (1, 1)), "PNG")
BOX = "<|LOC_0|><|LOC_0|><|LOC_500|><|LOC_0|><|LOC_500|><|LOC_100|><|LOC_0|><|LOC_100|>"
EMPTY_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF\n"
)
# The empty document, encrypted by the standard security handler (RC4, 40 bits) with the user password "secret".
LOCKED_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    b"3 0 obj<</Filter/Standard/V 1/R 2/Length 40/P -44/O<" + b"ab" * 32 + b">/U<" + b"cd" * 32 + b">>>endobj\n"
    b"trailer<</Root 1 0 R/Encrypt 3 0 R/ID[<00112233445566778899aabbccddeeff><00112233445566778899aabbccddeeff>]>>\n"
    b"%%EOF\n"
)
# One page of 2 × 1 inches whose form has a filled text field, drawn by its appearance: a black box.
FORM_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]>>>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 144 72]/Annots[4 0 R]>>endobj\n"
    b"4 0 obj<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(x)/F 4/Rect[20 20 120 50]/P 3 0 R/AP<</N 5 0 R>>>>endobj\n"
    b"5 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 100 30]/Length 21>>stream\n0 g 0 0 100 30 re f  \nendstream endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF\n"
)


def test_what_is_filled_into_a_form_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "form.pdf").write_bytes(FORM_PDF)
    (page,) = pages(tmp_path / "form.pdf", tmp_path / "w")
    seen = open_as_seen(page.image)
    assert seen.getpixel((seen.width // 2, seen.height // 2)) == (0, 0, 0)
    assert seen.getpixel((2, 2)) == (255, 255, 255)


def test_one_broken_file_stops_only_itself(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    picture(0).save(folder / "good.png")
    for name, content in (("torn.jpg", TORN_JPEG), ("locked.pdf", LOCKED_PDF), ("ribbon.png", RIBBON)):
        (folder / name).write_bytes(content)
    found = pages(folder, tmp_path / "w")
    assert [page.name for page in found] == ["good"]
    assert [Path(error.where).name for error in found.broken] == ["locked.pdf", "ribbon.png", "torn.jpg"]
    assert all(error.remedy for error in found.broken)


def test_no_two_pages_share_a_name_or_a_picture_wherever_they_come_from(tmp_path: Path) -> None:
    sources = []
    for shade, month in enumerate(("jan", "feb")):
        (tmp_path / month).mkdir()
        for name in ("bill.pdf", "INV.png", "inv.bmp", "bill-p0001.png", "a__b.png"):
            picture(100 * shade).save(tmp_path / month / name, resolution=100)
            sources.append(tmp_path / month / name)
    work = tmp_path / "w"
    found = [page for source in sources for page in pages(source, work)]
    assert len({page.name.casefold() for page in found}) == len(found) == 10
    for page in found:
        shade = 100 if "feb" in page.source else 0
        assert open_as_seen(page.image).getpixel((50, 50)) == pytest.approx((shade,) * 3, abs=3), page


def test_the_content_says_what_a_file_is_and_what_cannot_be_read_is_named_with_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    picture(0).save(folder / "pdf.png", "PDF", resolution=100)
    picture(0).save(folder / "plain.ppm")
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    page = b"<!DOCTYPE html><html></html>"
    for name, content in (("photo.heic", heic), ("photo.jpg", heic), ("draw.svg", b"<svg/>"), ("page.png", page)):
        (folder / name).write_bytes(content)
    found = pages(folder, tmp_path / "w")
    assert [page.name for page in found] == ["pdf-p0001", "plain"]
    ways = {Path(error.where).name: error.remedy for error in found.broken}
    assert list(ways) == ["draw.svg", "page.png", "photo.heic", "photo.jpg"]
    assert "rsvg-convert" in ways["draw.svg"]
    assert "address of the image" in ways["page.png"]
    assert "heif-convert" in ways["photo.heic"]
    assert "heif-convert" in ways["photo.jpg"]


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
    (moving,) = pages(tmp_path / "moving.gif", tmp_path / "w")
    assert open_as_seen(moving.image).getpixel((0, 0)) == (0, 0, 0), "its first frame"


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
        ("x.jpg", TORN_JPEG, "cannot be read as an image"),
        ("x.png", SPECK, "the image is too small"),
        ("x.png", RIBBON, "at most 200 times as long as wide"),
        ("x.pdf", LOCKED_PDF, "--decrypt"),
        ("x.pdf", EMPTY_PDF, "cannot be opened"),
        ("x.pdf", b"", "cannot be opened"),
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
        ("spotting", f"Total{BOX}\n12.50{BOX}", "Total\n12.50"),
        ("json", '{"total": 1}', '```json\n{\n  "total": 1\n}\n```'),
        ("json", "no document", "no document"),
    ],
)
def test_each_task_becomes_markdown(task: str, text: str, wanted: str) -> None:
    assert markdown(task, text) == wanted


def test_places_are_told_in_px_and_documents_as_data(tmp_path: Path) -> None:
    Image.new("L", (200, 50)).save(tmp_path / "a.png")
    said = facts("spotting", f"Total{BOX}\nalone", tmp_path / "a.png")
    assert said["size"] == [200, 50]
    assert said["lines"] == [
        {"text": "Total", "box": [[0, 0], [100, 0], [100, 5], [0, 5]]},
        {"text": "alone", "box": []},
    ]
    assert facts("json", '{"total": 1}', tmp_path) == {"data": {"total": 1}}
    assert facts("json", "12.50", tmp_path)["problem"].startswith("a JSON float")
    assert facts("text", "12.50", tmp_path) == {}


def test_results_name_their_source(tmp_path: Path) -> None:
    page = Page("scan-p0002", tmp_path / "x.png", "scan.pdf", 2)
    md, js = write(tmp_path / "out", page, "text", {"task": "ocr"})
    assert md.read_text() == "text\n"
    assert json.loads(js.read_text()) == {"source": "scan.pdf", "page": 2, "markdown": "text", "task": "ocr"}
