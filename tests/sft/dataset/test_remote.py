"""Images that rows name by address, or hold as base64, become files; what cannot is said before one is fetched."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from tenacity import wait_none

from sft import download
from sft.dataset.convert import convert
from sft.dataset.remote import localise
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file
from sft.errors import DatasetError
from tests.support.web_server import serving


def png(shade: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (56, 28), shade).save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, *images: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [{"text": "OCR:", "tag": "mask"}, {"text": "x", "tag": "no_mask"}]
    path.write_text("".join(json.dumps({"image_info": [{"image_url": i}], "text_info": texts}) + "\n" for i in images))
    return path


def shades(path: Path) -> list[object]:
    validate_file(path, DatasetConfig(rules={"duplicate": "off"})).check()
    names = [json.loads(line)["image_info"][0]["image_url"] for line in path.read_text().splitlines()]
    return [Image.open(path.parent / name).getpixel((0, 0)) for name in names]


def test_images_in_rows_become_files_and_a_broken_one_is_named_briefly(tmp_path: Path) -> None:
    uris = ["data:image/png;base64," + base64.b64encode(png(shade)).decode() for shade in (1, 2)]
    assert localise(write(tmp_path / "a.jsonl", *uris), tmp_path / "b.jsonl") == 2
    assert shades(tmp_path / "b.jsonl") == [1, 2]
    with pytest.raises(DatasetError, match="1 of 2 images could not be fetched") as caught:
        localise(write(tmp_path / "a.jsonl", uris[0], "data:image/png;base64," + "A" * 10**5), tmp_path / "c.jsonl")
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "c.jsonl").exists()


def test_other_schemes_are_named_with_their_tools_before_anything_is_fetched(tmp_path: Path) -> None:
    with serving() as site:
        source = write(
            tmp_path / "a.jsonl", f"{site.url}/1.png", "s3://bucket/2.png?X-Amz-Signature=5ec7", "hf://d/3.png"
        )
        with pytest.raises(DatasetError, match="2 of 3 addresses are neither http nor https") as caught:
            localise(source, tmp_path / "b.jsonl", trusted=True)
        assert not site.requests
    assert "aws s3 cp" in caught.value.remedy
    assert "hf download" in caught.value.remedy
    assert "5ec7" not in str(caught.value)


def test_a_signature_is_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAIT", wait_none())
    with serving() as site:
        source = write(tmp_path / "a.jsonl", f"{site.url}/none.png?X-Amz-Signature=5ec7e7")
        with pytest.raises(DatasetError, match="could not be fetched") as caught:
            localise(source, tmp_path / "b.jsonl", trusted=True)
    assert "none.png" in str(caught.value)
    assert "5ec7e7" not in str(caught.value)


def test_a_corrected_image_is_fetched_again_where_asked(tmp_path: Path) -> None:
    with serving() as site:
        site.files["/1.bmp"] = png(1, "BMP")
        source = write(tmp_path / "a.jsonl", f"{site.url}/1.bmp")
        localise(source, tmp_path / "b.jsonl", trusted=True)
        site.files["/1.bmp"] = png(2, "BMP")  # of the same size
        localise(source, tmp_path / "b.jsonl", trusted=True)
        assert shades(tmp_path / "b.jsonl") == [1], "what is there is kept"
        localise(source, tmp_path / "b.jsonl", trusted=True, again=True)
        assert shades(tmp_path / "b.jsonl") == [2]


def test_a_target_in_another_folder_is_refused_where_paths_would_point_nowhere(tmp_path: Path) -> None:
    source = write(tmp_path / "a" / "rows.jsonl", "img/1.png")
    target = tmp_path / "b" / "rows.jsonl"
    with pytest.raises(DatasetError, match="relative to the folder of their file"):
        localise(source, target)
    with pytest.raises(DatasetError, match="relative to the folder of their file") as caught:
        convert(source, target, "messages")
    assert f"sft import {source} {target}" in caught.value.remedy
    assert not target.exists()
    remote = write(tmp_path / "a" / "remote.jsonl", "https://h.org/1.png")
    assert convert(remote, target, "messages") == 1
